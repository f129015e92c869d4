"""Weight files: only intact, published tensors are opened, and nothing in a file can run."""

import hashlib
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from maisi.errors import InputError, WeightsError
from maisi.models.variants import SHIPPED_MODELS, WeightFile, get_variant, read_variant, variants
from maisi.models.weights import load_networks, read_state

CPU = torch.device("cpu")


def weightsOf(variant):
    return variant.folder / variant.weights[0].file


@pytest.fixture
def a_variant(a_tiny_model):
    return get_variant(a_tiny_model)


def with_file(variant, path):
    """``variant`` with another weight file, taken for the published one."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(variant, folder=path.parent, weights=(WeightFile("all", path.name, sha256),))


def test_networks_load_and_are_frozen(a_variant):
    networks = load_networks(a_variant, CPU)
    assert not networks.unet.training
    assert not any(p.requires_grad for p in networks.controlnet.parameters())
    assert {p.dtype for p in networks.autoencoder.parameters()} == {torch.float32}


def test_a_missing_file(a_variant, tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        load_networks(replace(a_variant, weights=tmp_path / "none.safetensors"), CPU)


def test_a_changed_byte_is_noticed(a_variant, tmp_path):
    content = bytearray(weightsOf(a_variant).read_bytes())
    content[-1] ^= 1
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_networks(replace(a_variant, weights=path), CPU)


@pytest.mark.parametrize("kept", [0, 5, 200, 5000])
def test_a_truncated_file(a_variant, tmp_path, kept):
    path = tmp_path / "short.safetensors"
    path.write_bytes(weightsOf(a_variant).read_bytes()[:kept])
    with pytest.raises(WeightsError, match="damaged"):
        load_networks(with_file(a_variant, path), CPU)


def test_tensors_of_another_network(a_variant, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"unet.conv_in.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="does not fit"):
        load_networks(with_file(a_variant, path), CPU)


class _Bomb:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_a_pickle_with_code_is_not_opened(tmp_path, capsys):
    path = tmp_path / "bomb.pt"
    torch.save({"unet": _Bomb()}, path)
    with pytest.raises(WeightsError, match="could run code"):
        read_state(path)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(WeightsError):
        read_state(plain)
    assert "never" not in capsys.readouterr().out


def test_plain_tensors_in_a_pt_file_open(tmp_path):
    path = tmp_path / "fine.pt"
    torch.save({"a": torch.arange(3)}, path)
    assert read_state(path)["a"].tolist() == [0, 1, 2]


def test_a_broken_card_gets_a_sentence(tmp_path):
    card = tmp_path / "broken.json"
    card.write_text('{"name": "x"}')
    with pytest.raises(InputError, match="model card"):
        read_variant(card)


def test_unknown_models_are_answered_with_the_known_ones(a_tiny_model):
    with pytest.raises(InputError, match="tiny"):
        get_variant("nope")


def test_every_shipped_model_is_intact_and_small():
    shipped = [v for v in variants().values() if v.folder == SHIPPED_MODELS]
    assert "embedded" in {v.name for v in shipped}
    assert sum(weightsOf(v).stat().st_size for v in shipped) <= 30e6
    for variant in shipped:
        load_networks(variant, CPU)
