"""The weight files on this machine: what is there, intact or not, imported, halved, removed."""

import io
import json
import os
import shutil
import zipfile

import pytest
import torch

from helpers.released_model import FILES, LICENSE, random_states, released_layout, write_card, write_weights
from maisi.cli import main
from maisi.errors import InputError, WeightsError
from maisi.models import checksums, licenses
from maisi.models.checkpoint import read_checkpoint
from maisi.models.folder import models_folder
from maisi.models.half import convert
from maisi.models.importing import find_weights, import_weights
from maisi.models.networks import Conditions
from maisi.models.store import half_path, remove, stored, verify, weight_path
from maisi.models.variants import get_variant, variants
from maisi.models.weights import load_networks, load_state

CPU = torch.device("cpu")


@pytest.fixture
def the_published_files(tmp_path):
    """Weight files somewhere else on the disk, in folders like those of the hub."""
    return write_weights(tmp_path / "copied" / "models", random_states())


@pytest.fixture
def a_known_model(tmp_path, monkeypatch, the_published_files):
    """A released model whose license is accepted and whose weights are not in the models folder yet."""
    folder = tmp_path / "models folder"
    folder.mkdir()
    monkeypatch.setenv("MAISI_MODELS", str(folder))
    write_card(folder, the_published_files)
    licenses.accept([LICENSE])
    return get_variant("small-ct")


@pytest.fixture
def an_imported_model(a_known_model, the_published_files):
    import_weights(the_published_files["unet"].parent)
    return a_known_model


def unet_of(variant):
    return next(file for file in variant.weights if file.role == "unet")


# ---- what is there


def test_the_models_folder_is_chosen_by_the_environment_or_stands_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    assert models_folder() == tmp_path
    monkeypatch.delenv("MAISI_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert models_folder() == tmp_path / ".maisi" / "models"


def test_what_is_missing_and_its_size_are_told(a_known_model, the_published_files):
    assert not stored(a_known_model).installed
    shutil.copy(the_published_files["unet"], models_folder())
    there = stored(a_known_model)
    assert [file.role for file in there.missing] == ["autoencoder", "controlnet"]
    assert there.size == the_published_files["unet"].stat().st_size


def test_records_of_the_folder_are_no_cards(an_imported_model):
    assert set(variants()) >= {"embedded", "small-ct"}


# ---- import


def test_a_folder_is_imported_and_its_own_files_stay(a_known_model, the_published_files):
    before = {path: path.read_bytes() for path in the_published_files.values()}
    imported = import_weights(the_published_files["unet"].parent.parent)
    assert sorted(path.name for path in imported) == sorted(FILES.values())
    assert {path: path.read_bytes() for path in before} == before
    assert stored(a_known_model).installed
    assert load_networks(a_known_model, CPU).controlnet is not None


@pytest.mark.parametrize("folder", ["", "models/", "../../", "/", "C:\\Users\\me\\"])
def test_a_zip_is_imported_and_writes_nowhere_else(a_known_model, the_published_files, tmp_path, folder):
    packed = tmp_path / "weights.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in the_published_files.values():
            archive.writestr(zipfile.ZipInfo(folder + path.name), path.read_bytes())
        archive.writestr(folder + "notes.txt", "not ours")
    before = set(tmp_path.rglob("*"))
    import_weights(packed)
    created = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert created == {models_folder() / name for name in FILES.values()} | {models_folder() / ".state/checksums.json"}


def test_one_file_is_imported(a_known_model, the_published_files):
    assert import_weights(the_published_files["unet"]) == [weight_path(a_known_model, unet_of(a_known_model))]


def test_names_of_older_releases_are_recognised(tmp_path):
    (tmp_path / "autoencoder_epoch273.pt").touch()
    (tmp_path / "controlnet-20datasets-e20wl100fold0bc_noi_dia_fsize_current.pt").touch()
    assert {file.file for file in find_weights(tmp_path)} == {"autoencoder_v1.pt", "controlnet_3d_ddpm-ct.pt"}


def test_an_import_without_accepted_license(a_known_model, the_published_files):
    (models_folder() / ".state" / "licenses.json").unlink()
    with pytest.raises(WeightsError, match=r"NVIDIA Open Model License \(https://.*--accept-license\.$"):
        import_weights(the_published_files["unet"])
    assert not stored(a_known_model).size


def test_an_altered_file_is_not_imported_and_nothing_is_left(an_imported_model, the_published_files):
    path = the_published_files["unet"]
    good = weight_path(an_imported_model, unet_of(an_imported_model)).read_bytes()
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(WeightsError, match=f"{path.name} of .* is not the published one"):
        import_weights(path)
    assert weight_path(an_imported_model, unet_of(an_imported_model)).read_bytes() == good
    assert not list(models_folder().glob(".maisi-*"))


def test_a_file_of_another_network_is_not_imported_though_no_checksum_was_published(a_known_model, the_published_files):
    write_card(models_folder(), the_published_files, published=False)
    shutil.copy(the_published_files["controlnet"], the_published_files["unet"])
    with pytest.raises(WeightsError, match=f"{FILES['unet']} of .* does not fit the unet of small-ct"):
        import_weights(the_published_files["unet"])


def test_a_locked_zip(a_known_model, the_published_files, tmp_path):
    packed = tmp_path / "weights.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(the_published_files["unet"], FILES["unet"])
    content = bytearray(packed.read_bytes())
    content[6] |= 1  # the flag for encryption, here
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # and in the directory
    packed.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be unpacked .*password"):
        import_weights(packed)


def test_a_damaged_zip(a_known_model, the_published_files, tmp_path):
    packed = tmp_path / "weights.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(the_published_files["unet"], FILES["unet"])
    content = bytearray(packed.read_bytes())
    content[1000:1100] = bytes(100)
    packed.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        import_weights(packed)


def test_sources_that_cannot_be_imported(a_known_model, the_published_files, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        import_weights(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no weight file of a known model; such files are: .*diff_unet"):
        import_weights(tmp_path / "empty")
    with pytest.raises(InputError, match="models folder itself"):
        import_weights(models_folder())
    shutil.copytree(the_published_files["unet"].parent, tmp_path / "copied" / "twice")
    with pytest.raises(InputError, match="and another"):
        import_weights(tmp_path / "copied")


# ---- checksums


def test_a_large_file_is_read_once_and_again_when_it_changed(an_imported_model, monkeypatch):
    path = weight_path(an_imported_model, unet_of(an_imported_model))
    reads = []
    really = checksums.sha256_of
    monkeypatch.setattr(checksums, "sha256_of", lambda path: reads.append(path.name) or really(path))
    load_state(an_imported_model, "unet")
    load_state(an_imported_model, "unet")
    assert reads == []
    path.touch()
    load_state(an_imported_model, "unet")
    load_state(an_imported_model, "unet")
    assert reads == [path.name]
    assert len(list(verify(an_imported_model))) == len(reads[1:]) == 3


def test_a_file_without_published_checksum_must_stay_as_it_was_imported(a_known_model, the_published_files):
    write_card(models_folder(), the_published_files, published=False)
    variant = get_variant("small-ct")
    import_weights(the_published_files["unet"])
    other = random_states(seed=4)["unet"]
    torch.save(released_layout("unet", other), weight_path(variant, unet_of(variant)))
    with pytest.raises(WeightsError, match="not as installed"):
        load_state(variant, "unet")


def test_verify_notices_a_change_that_keeps_size_and_time(an_imported_model):
    path = weight_path(an_imported_model, unet_of(an_imported_model))
    status, content = path.stat(), bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(WeightsError, match="SHA-256"):
        list(verify(an_imported_model))
    with pytest.raises(WeightsError, match="SHA-256"):
        load_state(an_imported_model, "unet")


def test_verify_of_what_is_not_there(a_known_model):
    with pytest.raises(WeightsError, match=r"missing; get it with: maisi models download small-ct\.$"):
        list(verify(a_known_model))


def test_a_read_only_models_folder_works(an_imported_model, monkeypatch):
    def refuse(*_):
        raise WeightsError("read-only")

    monkeypatch.setattr(checksums, "record", refuse)
    weight_path(an_imported_model, unet_of(an_imported_model)).touch()
    assert load_state(an_imported_model, "unet").state


# ---- half precision


def test_a_half_precision_copy_gives_the_same_numbers_under_autocast(an_imported_model):
    exact = load_networks(an_imported_model, CPU)
    convert(an_imported_model)
    halved = load_networks(an_imported_model, CPU, half=True)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 8, 8, 8, generator=generator)
    with torch.autocast("cpu", torch.float16), torch.inference_mode():
        images = [networks.autoencoder.decode(latents) for networks in (exact, halved)]
        time, conditions = torch.tensor([500.0]), Conditions(torch.full((1, 3), 150.0), torch.tensor([1]))
        flows = [networks.unet(latents, time, conditions) for networks in (exact, halved)]
    assert torch.equal(*images)
    assert torch.equal(*flows)
    assert flows[0].std() > 0
    assert halved.scale_factor == exact.scale_factor
    weight = halved.autoencoder.decoder.blocks[0].conv.conv.weight
    assert torch.equal(weight, exact.autoencoder.decoder.blocks[0].conv.conv.weight.half().float())


def test_norms_biases_and_embeddings_stay_float32_in_the_copy(an_imported_model):
    convert(an_imported_model)
    for role in ("unet", "controlnet"):
        for key, value in load_state(an_imported_model, role, half=True).state.items():
            exact = value.ndim < 2 or key == "class_embedding.weight"
            assert value.dtype == (torch.float32 if exact else torch.float16), key


def test_the_original_is_taken_for_float32_while_it_is_there(an_imported_model):
    convert(an_imported_model)
    assert {v.dtype for v in load_state(an_imported_model, "unet").state.values()} == {torch.float32}
    copies = convert(an_imported_model, drop_original=True)
    assert not weight_path(an_imported_model, unet_of(an_imported_model)).exists()
    assert torch.float16 in {v.dtype for v in load_state(an_imported_model, "unet").state.values()}
    assert stored(an_imported_model).size == sum(path.stat().st_size for path in copies)


def test_an_altered_copy_is_noticed(an_imported_model):
    copy = convert(an_imported_model)[1]
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    with pytest.raises(WeightsError, match="not as installed"):
        load_state(an_imported_model, "unet", half=True)


def test_a_copy_of_another_original_is_noticed(an_imported_model, tmp_path):
    copy = convert(an_imported_model)[1]
    write_card(models_folder(), write_weights(tmp_path / "newer", random_states(seed=5)))
    with pytest.raises(WeightsError, match="not made from the published one"):
        load_state(get_variant("small-ct"), "unet", half=True)
    assert copy.is_file()


def test_a_new_original_takes_the_old_copy_away(an_imported_model, the_published_files):
    copy = convert(an_imported_model)[1]
    import_weights(the_published_files["unet"])
    assert not copy.exists()


def test_nothing_is_halved_without_the_original(a_known_model):
    with pytest.raises(WeightsError, match="missing"):
        convert(a_known_model)


# ---- remove


def test_remove_deletes_what_no_other_model_needs(an_imported_model, the_published_files):
    card = models_folder() / "small-ct.json"
    image_only = card.read_text().replace('"small-ct"', '"image-only"', 1)
    (models_folder() / "image-only.json").write_text(image_only)
    convert(an_imported_model)
    assert remove(an_imported_model) == []  # both need all three
    (models_folder() / "image-only.json").unlink()
    assert len(remove(an_imported_model)) == 6
    assert stored(an_imported_model).size == 0
    assert card.is_file()


def test_models_that_were_not_downloaded_are_not_removed():
    with pytest.raises(InputError, match="not downloaded"):
        remove(get_variant("embedded"))


# ---- command line


def test_the_command_line_lists_imports_verifies_and_removes(a_known_model, the_published_files, capsys, monkeypatch):
    (models_folder() / ".state" / "licenses.json").unlink()
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "not downloaded" in next(line for line in listed.splitlines() if line.startswith("small-ct"))
    assert "installed" in next(line for line in listed.splitlines() if line.startswith("embedded"))
    for command in (["models", "--json"], ["models", "list", "--json"]):
        assert main(command) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["folder"] == str(models_folder())
        assert next(model["missing"] for model in told["models"] if model["name"] == "small-ct") == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # no terminal: nobody can be asked
    source = str(the_published_files["unet"].parent)
    assert main(["models", "import", source]) == 2
    assert "--accept-license" in capsys.readouterr().err
    assert main(["models", "import", source, "--accept-license"]) == 0
    assert "Open Model License" in capsys.readouterr().out
    assert main(["models", "verify", "small-ct"]) == 0
    assert capsys.readouterr().out.count("is intact") == 3
    assert main(["models", "download", "small-ct", "--convert", "--drop-original"]) == 0
    assert "3 were here" in capsys.readouterr().out
    assert half_path(a_known_model, unet_of(a_known_model)).is_file()
    assert main(["models", "remove", "small-ct"]) == 0
    assert main(["models", "remove", "embedded"]) == 2
    assert "small-ct" in capsys.readouterr().out


def test_a_plain_checkpoint_can_still_be_read_after_the_conversion(an_imported_model):
    copy = convert(an_imported_model)[0]
    assert read_checkpoint(copy).state.keys() == load_state(an_imported_model, "autoencoder").state.keys()
