"""Weight files: only intact, published tensors are opened, nothing in a file can run, every fault has its sentence."""

import hashlib
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.released_model import SCALE_FACTOR, random_states, write_card, write_weights
from maisi.errors import WeightsError
from maisi.models.checkpoint import read_checkpoint
from maisi.models.variants import SHIPPED_MODELS, WeightFile, get_variant, read_variant, variants
from maisi.models.weights import ROLES, expected_state, load_networks, load_state

CPU = torch.device("cpu")


def weights_of(variant):
    return variant.folder / variant.weights[0].file


@pytest.fixture
def the_states():
    return random_states()


@pytest.fixture
def the_embedded_model():
    return get_variant("embedded")


@pytest.fixture
def a_models_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def an_installed_model(a_models_folder_of_the_user, the_states):
    """A variant of separate files in the released layouts, with published checksums."""
    files = write_weights(a_models_folder_of_the_user, the_states)
    return read_variant(write_card(a_models_folder_of_the_user, files))


def with_file(variant, path):
    """``variant`` with another weight file for everything, taken for the published one."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(variant, folder=path.parent, weights=(WeightFile("all", path.name, sha256),))


# ---- what loads


def test_networks_load_and_are_frozen(the_embedded_model):
    networks = load_networks(the_embedded_model, CPU)
    assert not networks.unet.training
    assert not any(p.requires_grad for p in networks.controlnet.parameters())
    assert {p.dtype for p in networks.autoencoder.parameters()} == {torch.float32}
    assert networks.scale_factor == 1.0


def test_every_layout_of_the_released_files_loads_with_its_values(an_installed_model, the_states):
    networks = load_networks(an_installed_model, CPU)
    for role in ROLES:
        loaded = getattr(networks, role).state_dict()
        assert loaded.keys() == the_states[role].keys()
        assert all(torch.equal(loaded[key], value) for key, value in the_states[role].items())
    assert networks.scale_factor == torch.tensor(SCALE_FACTOR).item()  # as the checkpoint holds it, in float32


def test_an_autoencoder_may_stand_under_unet_state_dict(tmp_path, the_states):
    path = tmp_path / "wrapped.pt"
    torch.save({"unet_state_dict": the_states["autoencoder"]}, path)
    assert read_checkpoint(path).state.keys() == the_states["autoencoder"].keys()


def test_a_loss_stored_by_numpy_and_an_old_file_format_open(tmp_path, the_states):
    path = tmp_path / "old.pt"
    content = {"loss": np.float64(0.25), "epoch": np.int64(3), "controlnet_state_dict": the_states["controlnet"]}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path).state.keys() == the_states["controlnet"].keys()


def test_the_card_s_scale_factor_goes_before_the_checkpoint_s(an_installed_model):
    assert load_networks(replace(an_installed_model, scale_factor=1.25), CPU, ["unet"]).scale_factor == 1.25


def test_only_what_a_job_needs_is_opened(an_installed_model, a_models_folder_of_the_user):
    (a_models_folder_of_the_user / an_installed_model.weights[2].file).unlink()
    networks = load_networks(an_installed_model, CPU, ["autoencoder", "unet"])
    assert networks.controlnet is None
    assert networks.unet is not None
    assert load_networks(an_installed_model, CPU, ["autoencoder"]).unet is None


def test_a_model_without_controlnet_loads(an_installed_model):
    roles = {role: config for role, config in an_installed_model.networks.items() if role != "controlnet"}
    image_only = replace(an_installed_model, networks=roles, weights=an_installed_model.weights[:2])
    assert load_networks(image_only, CPU).controlnet is None


@pytest.mark.parametrize("name", ["ddpm-ct", "rflow-ct", "rflow-mr", "rflow-mr-brain"])
def test_released_files_of_full_size_fit_their_networks(name, a_models_folder_of_the_user):
    """Exactly the keys and shapes of the released files; each value is one number that fills its shape."""
    a_models_folder_of_the_user.mkdir()
    variant = get_variant(name)
    for file in variant.weights:
        filled = {k: torch.ones(()).expand(v.shape) for k, v in expected_state(variant, file.role).items()}
        wrapper = "controlnet_state_dict" if file.role == "controlnet" else "unet_state_dict"
        content = {"epoch": 1, "loss": 0.5, "scale_factor": torch.tensor(SCALE_FACTOR), wrapper: filled}
        torch.save(filled if file.role == "autoencoder" else content, a_models_folder_of_the_user / file.file)
        state, scale_factor = load_state(without_checksums(variant), file.role)
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in filled.items()}
        assert scale_factor == (None if file.role == "autoencoder" else pytest.approx(SCALE_FACTOR))


def without_checksums(variant):
    return replace(variant, weights=tuple(replace(file, sha256=None) for file in variant.weights))


# ---- what is refused, and how it is told


def test_absent_weights_tell_what_to_run(a_models_folder_of_the_user):
    with pytest.raises(WeightsError, match=r"missing .* maisi models download rflow-ct\.$"):
        load_networks(get_variant("rflow-ct"), CPU)


def test_a_missing_file_beside_its_card(the_embedded_model, tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        load_networks(replace(the_embedded_model, folder=tmp_path), CPU)


def test_a_changed_byte_is_noticed(the_embedded_model, tmp_path):
    content = bytearray(weights_of(the_embedded_model).read_bytes())
    content[-1] ^= 1
    (tmp_path / weights_of(the_embedded_model).name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"not the published one \(SHA-256"):
        load_networks(replace(the_embedded_model, folder=tmp_path), CPU)


def test_a_wrong_checksum_of_a_downloaded_file(an_installed_model):
    path = weights_at(an_installed_model, "unet")
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(WeightsError, match=f"{path.name} is not the published one"):
        load_networks(an_installed_model, CPU)


def weights_at(variant, role):
    return variant.folder / next(file.file for file in variant.weights if file.role == role)


@pytest.mark.parametrize("kept", [0, 5, 200, 5000])
def test_a_truncated_file(the_embedded_model, tmp_path, kept):
    path = tmp_path / "short.safetensors"
    path.write_bytes(weights_of(the_embedded_model).read_bytes()[:kept])
    with pytest.raises(WeightsError, match="damaged"):
        load_networks(with_file(the_embedded_model, path), CPU)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("new", [True, False])
def test_a_truncated_checkpoint(tmp_path, the_states, kept, new):
    whole = io.BytesIO()
    torch.save(the_states["unet"], whole, _use_new_zipfile_serialization=new)
    path = tmp_path / "short.pt"
    path.write_bytes(whole.getvalue()[: int(kept * whole.tell())])
    with pytest.raises(WeightsError, match="damaged or incomplete"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"<html>Sign in</html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_weight_file_at_all(tmp_path, content):
    path = tmp_path / "page.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"unet_state_dict": 5}, {"scale_factor": "x", "a": 1}])
def test_a_file_without_tensors(tmp_path, content):
    path = tmp_path / "numbers.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="holds no named tensors"):
        read_checkpoint(path)


def test_tensors_of_another_network(the_embedded_model, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"autoencoder.conv_in.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match=r"does not fit the autoencoder of embedded .* and \d+ more missing"):
        load_networks(with_file(the_embedded_model, path), CPU)


def test_wrong_keys_and_shapes_are_named(an_installed_model, the_states):
    state = dict(the_states["controlnet"])
    state["extra.weight"] = state.pop("conv_in.conv.bias")
    state["conv_in.conv.weight"] = torch.zeros(1)
    torch.save({"controlnet_state_dict": state}, weights_at(an_installed_model, "controlnet"))
    with pytest.raises(WeightsError) as told:
        load_state(without_checksums(an_installed_model), "controlnet")
    for part in (
        "conv_in.conv.bias missing",
        "extra.weight not of this network",
        "conv_in.conv.weight of another shape",
    ):
        assert part in str(told.value)


def test_a_unet_without_scale_factor(an_installed_model, the_states):
    torch.save({"unet_state_dict": the_states["unet"]}, weights_at(an_installed_model, "unet"))
    with pytest.raises(WeightsError, match="scale factor"):
        load_networks(without_checksums(an_installed_model), CPU)


class _Bomb:
    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_with_code_is_not_opened(tmp_path, capsys, new):
    path = tmp_path / "bomb.pt"
    torch.save({"unet_state_dict": {"a": torch.zeros(1)}, "epoch": _Bomb()}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(WeightsError, match="could run code"):
        read_checkpoint(path)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(WeightsError):
        read_checkpoint(plain)
    assert "never" not in capsys.readouterr().out


def test_every_shipped_model_is_intact_and_small():
    shipped = [v for v in variants().values() if not any(file.repository for file in v.weights)]
    embedded = [v for v in shipped if v.folder == SHIPPED_MODELS]
    assert "embedded" in {v.name for v in embedded}
    assert sum(weights_of(v).stat().st_size for v in embedded) <= 30e6
    for variant in embedded:
        load_networks(variant, CPU)
