"""Downloads from a hub on this machine: license first, resumed, verified; every fault has its sentence."""

import shutil

import huggingface_hub
import pytest

from helpers.hub_server import COMMIT, running_hub
from helpers.released_model import FILES, LICENSE, REPOSITORY, random_states, write_card, write_weights
from maisi.cli import main
from maisi.errors import InputError, WeightsError
from maisi.models import licenses
from maisi.models.download import download
from maisi.models.folder import models_folder
from maisi.models.store import stored, verify
from maisi.models.variants import get_variant

PIECE = 16 * 1024


@pytest.fixture
def a_hub(monkeypatch):
    """A hub without proxy or token of this machine, which sends files in small pieces."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda _: None)
    with running_hub() as hub:
        yield hub


@pytest.fixture
def the_published_files(tmp_path, a_hub):
    files = write_weights(tmp_path / "published", random_states())
    a_hub.files = {(REPOSITORY, f"models/{path.name}"): path.read_bytes() for path in files.values()}
    return files


@pytest.fixture
def a_released_model(tmp_path, monkeypatch, the_published_files):
    """A model on the hub whose license is accepted."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MAISI_MODELS", str(folder))
    write_card(folder, the_published_files)
    licenses.accept([LICENSE])
    return get_variant("small-ct")


def unet_bytes(hub):
    return hub.files[REPOSITORY, f"models/{FILES['unet']}"]


def leave_only_the_unet_to_fetch(the_published_files):
    for role in ("autoencoder", "controlnet"):
        shutil.copy(the_published_files[role], models_folder())


# ---- what works


def test_all_files_arrive_as_published(a_released_model, a_hub, the_published_files):
    told = []
    fetched = download(a_released_model, lambda *step: told.append(step), a_hub.endpoint)
    assert [path.name for path in fetched] == list(FILES.values())
    assert all((models_folder() / path.name).read_bytes() == path.read_bytes() for path in the_published_files.values())
    assert len(list(verify(a_released_model))) == 3
    assert told[-1] == (FILES["controlnet"], *2 * [the_published_files["controlnet"].stat().st_size])
    assert not list((models_folder() / ".partial").iterdir())
    assert all(COMMIT in request.path for request in a_hub.transfers)  # the version whose checksum was told


def test_what_is_here_is_not_fetched_again_and_needs_no_hub(a_released_model, a_hub):
    download(a_released_model, endpoint=a_hub.endpoint)
    assert download(a_released_model, endpoint="http://127.0.0.1:9") == []


def test_a_damaged_file_is_fetched_again(a_released_model, a_hub):
    download(a_released_model, endpoint=a_hub.endpoint)
    path = models_folder() / FILES["unet"]
    path.write_bytes(b"damaged")
    assert download(a_released_model, endpoint=a_hub.endpoint) == [path]
    assert path.read_bytes() == unet_bytes(a_hub)


def test_a_broken_connection_is_taken_up_again_at_once(a_released_model, a_hub, the_published_files):
    leave_only_the_unet_to_fetch(the_published_files)
    a_hub.hang_up_after = [5 * PIECE]
    download(a_released_model, endpoint=a_hub.endpoint)
    first, second = a_hub.transfers
    assert first.range is None
    assert second.range == f"bytes={5 * PIECE}-"
    assert (models_folder() / FILES["unet"]).read_bytes() == unet_bytes(a_hub)


def test_a_download_that_was_stopped_resumes_in_the_next_run(a_released_model, a_hub, the_published_files):
    leave_only_the_unet_to_fetch(the_published_files)

    def stop_after_some(file, done, total):
        if done >= 3 * PIECE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(a_released_model, stop_after_some, a_hub.endpoint)
    assert not (models_folder() / FILES["unet"]).exists()
    sizes = []
    download(a_released_model, lambda _, done, total: sizes.append(done), a_hub.endpoint)
    assert a_hub.transfers[-1].range == f"bytes={3 * PIECE}-"
    assert sizes[0] == 4 * PIECE
    assert (models_folder() / FILES["unet"]).read_bytes() == unet_bytes(a_hub)


def test_what_is_left_of_an_older_version_is_not_continued(a_released_model, a_hub, the_published_files):
    leave_only_the_unet_to_fetch(the_published_files)
    partial = models_folder() / ".partial"
    partial.mkdir()
    (partial / f"{FILES['unet']}.fedcba9876543210").write_bytes(b"of another version")
    download(a_released_model, endpoint=a_hub.endpoint)
    assert [request.range for request in a_hub.transfers] == [None]
    assert not list(partial.iterdir())


def test_a_token_goes_to_the_hub_and_not_to_its_storage(a_released_model, a_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download(a_released_model, endpoint=a_hub.endpoint)
    told = {request.headers.get("authorization") for request in a_hub.requests if request not in a_hub.transfers}
    assert told == {"Bearer hf_secret"}
    assert {request.headers.get("authorization") for request in a_hub.transfers} == {None}


def test_where_no_checksum_was_published_that_of_the_hub_counts(a_released_model, a_hub, the_published_files):
    write_card(models_folder(), the_published_files, published=False)
    download(get_variant("small-ct"), endpoint=a_hub.endpoint)
    assert all(sha256 for _, sha256 in verify(get_variant("small-ct")))
    (models_folder() / FILES["unet"]).write_bytes(b"altered")
    with pytest.raises(WeightsError, match="not as installed"):
        list(verify(get_variant("small-ct")))


# ---- what goes wrong


def test_without_accepted_license_nothing_is_asked_of_the_hub(a_released_model, a_hub):
    (models_folder() / ".state" / "licenses.json").unlink()
    with pytest.raises(WeightsError, match=r"NVIDIA Open Model License \(https://.*--accept-license\.$"):
        download(a_released_model, endpoint=a_hub.endpoint)
    assert a_hub.requests == []


def test_content_with_a_wrong_checksum_is_deleted(a_released_model, a_hub):
    address = (REPOSITORY, f"models/{FILES['autoencoder']}")
    published = a_released_model.weights[0].sha256
    a_hub.claims = published
    a_hub.files[address] = a_hub.files[address][:-1] + b"?"
    with pytest.raises(WeightsError, match=r"not the published file \(SHA-256 differs\)"):
        download(a_released_model, endpoint=a_hub.endpoint)
    assert not stored(a_released_model).size
    assert not list((models_folder() / ".partial").iterdir())


def test_a_file_that_was_replaced_on_the_hub_is_not_transferred(a_released_model, a_hub):
    a_hub.files[REPOSITORY, f"models/{FILES['autoencoder']}"] += b"new"
    with pytest.raises(WeightsError, match="than the one this program knows"):
        download(a_released_model, endpoint=a_hub.endpoint)
    assert a_hub.transfers == []


def test_a_truncated_file_is_told_and_completed_later(a_released_model, a_hub, the_published_files):
    leave_only_the_unet_to_fetch(the_published_files)
    a_hub.short_by = 100
    with pytest.raises(WeightsError, match="run the command again to go on where it stopped"):
        download(a_released_model, endpoint=a_hub.endpoint)
    assert not (models_folder() / FILES["unet"]).exists()
    a_hub.short_by = 0
    download(a_released_model, endpoint=a_hub.endpoint)
    assert a_hub.transfers[-1].range == f"bytes={len(unet_bytes(a_hub)) - 100}-"


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository(a_released_model, a_hub, status):
    a_hub.refuse = status
    with pytest.raises(WeightsError, match=rf"\({status}\); accept its license at https://.*{REPOSITORY}.*HF_TOKEN"):
        download(a_released_model, endpoint=a_hub.endpoint)


def test_a_file_that_is_gone(a_released_model, a_hub):
    a_hub.files.clear()
    with pytest.raises(WeightsError, match="no longer in nobody/small-ct"):
        download(a_released_model, endpoint=a_hub.endpoint)


def test_a_hub_with_a_fault(a_released_model, a_hub):
    a_hub.refuse = 500
    with pytest.raises(WeightsError, match=r"\(error 500\); run the command again"):
        download(a_released_model, endpoint=a_hub.endpoint)


def test_no_network(a_released_model):
    with pytest.raises(WeightsError, match=r"could not be downloaded .* maisi models import FOLDER\.$"):
        download(a_released_model, endpoint="http://127.0.0.1:9")


def test_too_little_room(a_released_model, a_hub, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(WeightsError, match="does not fit"):
        download(a_released_model, endpoint=a_hub.endpoint)
    assert a_hub.transfers == []


def test_a_model_that_is_not_on_the_hub():
    with pytest.raises(InputError, match="nothing to download"):
        download(get_variant("embedded"))


# ---- command line


def test_the_command_line_shows_the_license_first(a_released_model, a_hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", a_hub.endpoint)
    (models_folder() / ".state" / "licenses.json").unlink()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert main(["models", "download", "small-ct"]) == 2
    assert "commercial use" in capsys.readouterr().out
    assert a_hub.requests == []
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(["models", "download", "small-ct"]) == 0
    assert "3 files fetched" in capsys.readouterr().out
    assert stored(a_released_model).installed
