"""Our networks give MONAI's numbers; the mask encoding and the intensity scale are those of the facts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi

from helpers.tiny_model import NETWORKS
from maisi.models.intensity import IntensityScale
from maisi.models.networks import Conditions, build_networks, mask_bits
from maisi.models.variants import get_variant


def randomize(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
    return network.eval()


@pytest.fixture
def our_networks():
    torch.manual_seed(0)
    return [randomize(network) for network in build_networks(NETWORKS).values()]


def test_unet_and_controlnet_equal_monai_including_the_in_place_residual(our_networks):
    _, unet, controlnet = our_networks
    common = {"spatial_dims": 3, "in_channels": 4}
    monai_unet = DiffusionModelUNetMaisi(**common, out_channels=4, include_spacing_input=True, **NETWORKS["unet"])
    monai_controlnet = ControlNetMaisi(
        **common, conditioning_embedding_in_channels=8, use_checkpointing=False, **NETWORKS["controlnet"]
    )
    monai_unet.load_state_dict(unet.state_dict())
    monai_controlnet.load_state_dict(controlnet.state_dict())
    x, time, label = torch.randn(1, 4, 8, 8, 8), torch.tensor([400.0]), torch.tensor([1])
    bits, spacing = torch.randint(0, 2, (1, 8, 32, 32, 32)).float(), torch.tensor([[150.0, 150.0, 200.0]])
    conditions = Conditions(spacing, label)
    with torch.no_grad():
        down, middle = monai_controlnet.eval()(x, time, bits, class_labels=label)
        expected = monai_unet.eval()(
            x,
            time,
            class_labels=label,
            spacing_tensor=spacing,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=middle,
        )
        ours = unet(x, time, conditions, controlnet(x, time, controlnet.embed_mask(bits), label))
    assert torch.equal(ours, expected)


def test_autoencoder_equals_monai(our_networks):
    autoencoder = our_networks[0]
    monai = AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        attention_levels=[False] * 3,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
        norm_float16=False,
        num_splits=1,
        **NETWORKS["autoencoder"],
    ).eval()
    monai.load_state_dict(autoencoder.state_dict())
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        latents = monai.encode(x)[0]
        torch.testing.assert_close(autoencoder.encode(x)[0], latents, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(autoencoder.decode(latents), monai.decode(latents), rtol=1e-4, atol=1e-5)


def test_both_networks_can_be_trained_together(our_networks):
    _, unet, controlnet = our_networks
    x, time, label = torch.randn(1, 4, 8, 8, 8), torch.tensor([400.0]), torch.tensor([1])
    conditions = Conditions(torch.ones(1, 3), label)
    embedding = controlnet.embed_mask(torch.ones(1, 8, 32, 32, 32))
    unet(x, time, conditions, controlnet(x, time, embedding, label)).sum().backward()
    assert unet.conv_in.conv.weight.grad.abs().max() > 0
    assert controlnet.conv_in.conv.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("label", "bits"), [(200, [0, 0, 0, 1, 0, 0, 1, 1]), (23, [1, 1, 1, 0, 1, 0, 0, 0]), (0, [0] * 8), (255, [1] * 8)]
)
def test_mask_bits_least_significant_first(label, bits):
    encoded = mask_bits(torch.full((1, 1, 2, 2, 2), label, dtype=torch.uint8))
    assert encoded.shape == (1, 8, 2, 2, 2)
    assert encoded[0, :, 0, 0, 0].tolist() == bits


@given(st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20))
def test_intensity_scales_are_invertible_and_monotonic(values):
    hu = torch.tensor(values).sort().values
    for scale in (IntensityScale(), get_variant("embedded").intensity):
        unit = scale.to_unit(hu)
        assert ((unit >= 0) & (unit <= 1)).all()
        assert (unit.diff() >= 0).all()
        torch.testing.assert_close(scale.to_hu(unit), hu, rtol=0, atol=1e-2)


def test_intensity_clips_outside_its_range():
    assert IntensityScale().to_unit(torch.tensor([-3000.0, 3000.0])).tolist() == [0.0, 1.0]
