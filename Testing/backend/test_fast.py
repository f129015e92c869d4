"""Accelerated networks give the numbers of MONAI's; tolerances are relative to the largest value."""

from __future__ import annotations

import pytest
import torch
from monai.networks.blocks.activation import Swish
from torch import nn

from helpers.tiny_model import fill_zeros
from maisi.models.fast import accelerate, compile_network, use_native_kernels
from maisi.models.networks import Autoencoder, Conditions, ControlNet, DiffusionUNet, build_networks, mask_bits
from maisi.models.norms import ChannelsLastGroupNorm
from maisi.models.variants import get_variant

LEVELS = {"num_channels": [16, 32, 32], "num_res_blocks": 1, "norm_num_groups": 8, "num_class_embeds": 4}
LEVELS |= {"attention_levels": [False, True, True], "num_head_channels": [0, 8, 8], "include_fc": True}


def pair(make, dtype=torch.float32):
    """The same random network twice: as it is, and accelerated."""
    torch.manual_seed(0)
    plain, fast = make().eval().requires_grad_(False), make().eval().requires_grad_(False)
    fill_zeros({"network": plain})
    fast.load_state_dict(plain.state_dict())
    return plain, accelerate(fast, dtype)


def difference(ours, expected):
    return ((ours.float() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("residual_updown", [True, False])
def test_unet_and_controlnet(residual_updown):
    config = {**LEVELS, "resblock_updown": residual_updown}
    unet, fast_unet = pair(lambda: DiffusionUNet(**config))
    controlnet, fast_controlnet = pair(lambda: ControlNet(**config, conditioning_embedding_num_channels=[8, 16]))
    x, time, label = torch.randn(1, 4, 12, 8, 8), torch.tensor([321.0]), torch.tensor([1])
    bits = mask_bits(torch.randint(0, 255, (1, 1, 24, 16, 16), dtype=torch.uint8))
    conditions = Conditions(torch.tensor([[150.0, 150.0, 200.0]]), label)
    with torch.inference_mode():
        expected = unet(x, time, conditions, controlnet(x, time, controlnet.embed_mask(bits), label))
        ours = fast_unet(x, time, conditions, fast_controlnet(x, time, fast_controlnet.embed_mask(bits), label))
    assert difference(ours, expected) < 2e-5


def test_autoencoder_both_ways():
    autoencoder, fast = pair(lambda: Autoencoder(num_channels=[8, 16, 16], num_res_blocks=[1] * 3, norm_num_groups=4))
    image = torch.rand(1, 1, 32, 24, 40)
    with torch.inference_mode():
        latents = autoencoder.encode(image)[0]
        assert difference(fast.encode(image)[0], latents) < 2e-5
        assert difference(fast.decode(latents), autoencoder.decode(latents)) < 2e-5


def test_bfloat16_is_near():
    unet, fast = pair(lambda: DiffusionUNet(**LEVELS), torch.bfloat16)
    x, time = torch.randn(1, 4, 8, 8, 8), torch.tensor([321.0])
    conditions = Conditions(torch.ones(1, 3), torch.tensor([1]))
    with torch.inference_mode():
        expected = unet(x, time, conditions)
        half = Conditions(conditions.spacing.bfloat16(), conditions.modality)
        ours = fast(x.bfloat16(), time, half)
    assert ours.dtype == torch.bfloat16
    assert difference(ours, expected) < 0.05


def test_what_is_given_is_not_changed_by_the_activations_in_place():
    _, fast = pair(lambda: DiffusionUNet(**{**LEVELS, "resblock_updown": True}))
    x, spacing = torch.randn(1, 4, 8, 8, 8), torch.ones(1, 3)
    kept = x.clone()
    with torch.inference_mode():
        first = fast(x, torch.tensor([3.0]), Conditions(spacing, torch.tensor([1])))
        second = fast(x, torch.tensor([3.0]), Conditions(spacing, torch.tensor([1])))
    assert torch.equal(x, kept)
    assert torch.equal(first, second)


def test_native_kernels_can_be_trained():
    autoencoder = Autoencoder(num_channels=[8, 8, 8], num_res_blocks=[1] * 3, norm_num_groups=4)
    names = list(autoencoder.state_dict())
    use_native_kernels(autoencoder)
    autoencoder.decode(torch.randn(1, 4, 4, 4, 4)).sum().backward()
    assert list(autoencoder.state_dict()) == names
    assert all(p.grad is not None for p in autoencoder.decoder.parameters())


def test_native_silu_is_that_of_the_mask_embedding():
    plain, native = (ControlNet(**LEVELS, conditioning_embedding_num_channels=[8, 16]) for _ in range(2))
    fill_zeros({"network": plain})
    native.load_state_dict(plain.state_dict())
    use_native_kernels(native)
    bits = mask_bits(torch.randint(0, 255, (1, 1, 24, 16, 16), dtype=torch.uint8))
    assert difference(native.embed_mask(bits), plain.embed_mask(bits)) < 1e-6
    assert not any(type(module) is Swish for module in native.modules())


def test_released_networks_are_covered():
    """Every upsampling of the full architectures takes the merged kernel, and no group norm loops over groups."""
    for name, ups in (("rflow-ct", 3), ("ddpm-ct", 3)):
        config = get_variant(name).networks
        with torch.device("meta"):
            networks = build_networks(config)
        for network in networks.values():
            accelerate(network)
        merged = [m for m in networks["unet"].modules() if type(m).__name__ == "_UpConv3d"]
        assert len(merged) == ups
        assert not any(type(m).__name__ == "MaisiGroupNorm3D" for m in networks["autoencoder"].modules())


@pytest.mark.parametrize("shape", [(1, 16, 5, 7, 3), (1, 8, 70, 40, 30)])
def test_group_norm_keeps_its_digits_with_a_large_mean(shape):
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, shape[1], eps=1e-6)
    x = (torch.randn(shape) + 30 + 5 * torch.randn(1, shape[1], 1, 1, 1)).contiguous(
        memory_format=torch.channels_last_3d
    )
    norm.weight.data.normal_()
    exact = nn.functional.group_norm(x.double(), 4, norm.weight.double(), norm.bias.double(), 1e-6)
    norm.__class__ = ChannelsLastGroupNorm
    assert difference(norm(x), exact) < 2e-5


@pytest.mark.parametrize("works", [True, False])
def test_compiled_networks_agree_and_what_cannot_be_compiled_runs_all_the_same(works):
    unet, fast = pair(
        lambda: DiffusionUNet(
            **{**LEVELS, "num_channels": [16, 16], "attention_levels": [False, True], "num_head_channels": [0, 8]}
        )
    )
    calls = []

    def backend(graph, examples):
        calls.append(graph)
        if not works:
            raise RuntimeError("no compiler on this machine")
        return graph.forward

    compile_network(fast, backend)
    x, time, conditions = (
        torch.randn(1, 4, 8, 8, 8),
        torch.tensor([3.0]),
        Conditions(torch.ones(1, 3), torch.tensor([1])),
    )
    with torch.inference_mode():
        assert difference(fast(x, time, conditions), unet(x, time, conditions)) < 2e-5
    assert calls
