"""``compatible`` gives the numbers of the reference, bit for bit on the CPU in float32 (FACTS appendix C).

The loops here are written from the facts with MONAI's own classes; nothing of ``maisi`` computes in them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.inferers import SlidingWindowInferer
from monai.networks.schedulers import DDPMScheduler
from monai.networks.schedulers.rectified_flow import RFlowScheduler

from helpers.released_model import SCALE_FACTOR
from helpers.small_variants import write_small_variant
from maisi.models.variants import get_variant
from maisi.models.weights import load_networks
from maisi.options import Options
from maisi.sampling.conditions import Target
from maisi.sampling.reference import as_reference, reference_randomness, remove_tumors_like_reference
from maisi.sampling.sampler import mask_embedding, sample_latents
from maisi.synthesis import synthesize
from maisi.volume import LabelVolume
from maisi.windows import Window, decode_compatible

SHAPE, SPACING, SEED = (64, 32, 32), np.array([1.7, 1.7, 2.1]), 11
CPU = torch.device("cpu")


@pytest.fixture
def labels():
    """Body, liver with tumor, two lobes with a tumor between them, femur, bone lesion."""
    array = np.full(SHAPE, 200, np.uint8)
    array[:4] = 0
    array[8:40, 8:24, 4:28] = 1
    array[20:28, 12:20, 10:20] = 26
    array[44:60, 4:28, 4:16], array[44:60, 4:28, 16:28] = 28, 29
    array[48:56, 10:18, 12:18] = 23
    array[40:44, 2:10, 2:10] = 93
    array[41:43, 4:6, 4:6] = 128
    return array


def monai_networks(config):
    """In the reference's order of construction, with the convolutions split as it does (FACTS 1.3-1.5, C.2)."""
    autoencoder = AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        attention_levels=[False] * 3,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
        use_convtranspose=False,
        norm_float16=False,
        num_splits=2,
        dim_split=1,
        **config["autoencoder"],
    )
    common = {"spatial_dims": 3, "in_channels": 4, "use_flash_attention": False}
    unet = DiffusionModelUNetMaisi(**common, out_channels=4, include_spacing_input=True, **config["unet"])
    if "controlnet" not in config:
        return autoencoder, unet, None
    return autoencoder, unet, ControlNetMaisi(**common, conditioning_embedding_in_channels=8, **config["controlnet"])


def reference_noise(networks):
    torch.manual_seed(SEED)
    monai_networks(networks[0])
    return torch.randn(1, 4, *(n // 4 for n in SHAPE)).half().float()[0].numpy()


def bits_of(labels):
    return torch.from_numpy(((labels[None, None] >> np.arange(8).reshape(8, 1, 1, 1)) & 1).astype(np.float32))


@torch.no_grad()
def plain_loop(networks, labels=None, tumor_free=None, *, steps, modality=None, regions=None, guidance=0.0):
    """Latents as the reference computes them, before the division by the scale factor; ``networks``: filled ones."""
    config, states = networks
    torch.manual_seed(SEED)
    unet, controlnet = monai_networks(config)[1:]
    shape = (1, 4, *(n // 4 for n in SHAPE))
    noise = torch.randn(shape)
    unet.load_state_dict(states["unet"])
    unet.eval()
    if labels is None:
        x = noise
        spacing = (torch.tensor(SPACING[None], dtype=torch.float64) * 100).half().float()
    else:
        x = noise.half().float()
        spacing = (torch.tensor(SPACING[None], dtype=torch.float32).half() * 100).float()
        controlnet.load_state_dict(states["controlnet"])
        controlnet.eval()
    extra = {"spacing_tensor": spacing}
    if regions is not None:
        extra["top_region_index_tensor"], extra["bottom_region_index_tensor"] = (
            torch.eye(4)[r][None] * 100 for r in regions
        )
    classes = None if modality is None else torch.tensor([modality])
    bits = None if labels is None else bits_of(labels)
    if guidance:
        extra = {key: torch.cat([value, value]) for key, value in extra.items()}
        classes = None if classes is None else torch.cat([classes, torch.zeros_like(classes)])
        bits = None if bits is None else torch.cat([bits, bits_of(tumor_free)])

    def predict(x, t):
        x, t = (torch.cat([x, x]), torch.cat([t, t])) if guidance else (x, t)
        residuals = {}
        if bits is not None:
            down, middle = controlnet(x, t, bits, class_labels=classes)
            residuals = {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}
        output = unet(x, t, class_labels=classes, **extra, **residuals)
        if not guidance:
            return output
        conditional, unconditional = output.chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    if regions is None:
        scheduler = RFlowScheduler(1000, use_discrete_timesteps=False, use_timestep_transform=True, scale=1.4)
        scheduler.set_timesteps(steps, input_img_size_numel=noise[0, 0].numel())
        following = torch.cat([scheduler.timesteps[1:], torch.tensor([0], dtype=scheduler.timesteps.dtype)])
        for t, next_t in zip(scheduler.timesteps, following, strict=True):
            x, _ = scheduler.step(predict(x, t[None].float()), t, x, next_t)
    else:
        scheduler = DDPMScheduler(
            num_train_timesteps=1000,
            beta_start=0.0015,
            beta_end=0.0195,
            schedule="scaled_linear_beta",
            clip_sample=False,
        )
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            x, _ = scheduler.step(predict(x, t[None].float()), t, x)
    return x


def compatible(folder, name, labels, **options):
    """Our latents for the small ``name``, and what the plain loop needs."""
    filled = write_small_variant(folder, name)
    variant = get_variant(f"small-{name}")
    networks = as_reference(load_networks(variant, CPU))
    chosen = Options(model=variant.name, seed=SEED, compatible=True, **options)
    latents = sample_latents(
        networks,
        Target(SHAPE, SPACING, labels),
        chosen,
        lambda mask: mask_embedding(networks, mask, torch.float32),
        lambda *_: None,
        lambda: False,
    )
    return latents, (variant.networks, {role: network.state_dict() for role, network in filled.items()})


def plain_decode(networks, latents, window, overlap):
    """The reference's decoding, at once or in windows; HU before the background is set (FACTS 2.6, 2.7)."""
    config, states = networks
    autoencoder = monai_networks(config)[0]
    autoencoder.load_state_dict(states["autoencoder"])
    autoencoder.eval()
    inferer = SlidingWindowInferer(
        roi_size=window,
        sw_batch_size=1,
        overlap=overlap,
        mode="gaussian",
        sigma_scale=0.125,
        device=CPU,
        progress=False,
    )
    with torch.no_grad():
        direct = latents[0, 0].numel() <= np.prod(window)
        decode = autoencoder.decode_stage_2_outputs
        image = decode(latents) if direct else inferer(latents, decode)
    return image.clip(0, 1) * 2000 - 1000


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    return tmp_path


def test_rectified_flow_with_controlnet(folder, labels):
    ours, networks = compatible(folder, "rflow-ct", labels, steps=5)
    assert torch.equal(ours, plain_loop(networks, labels, steps=5, modality=1) / SCALE_FACTOR)


def test_guidance_by_tumor_free_mask_and_unknown_modality(folder, labels):
    ours, networks = compatible(folder, "rflow-ct", labels, steps=3, guidance=2.5)
    free = remove_tumors_like_reference(labels)
    reference = plain_loop(networks, labels, free, steps=3, modality=1, guidance=2.5)
    assert torch.equal(ours, reference / SCALE_FACTOR)
    unguided = plain_loop(networks, labels, steps=3, modality=1) / SCALE_FACTOR
    assert not torch.allclose(ours, unguided, atol=1e-3), "guidance must matter, or this test proves nothing"


def test_ddpm_with_controlnet_and_regions_of_the_mask(folder, labels):
    ours, networks = compatible(folder, "ddpm-ct", labels, steps=12)
    reference = plain_loop(networks, labels, steps=12, regions=(1, 3))  # chest to pelvis
    assert torch.equal(ours, reference / SCALE_FACTOR)


def test_image_only_with_guidance_of_the_modality(folder):
    ours, networks = compatible(folder, "rflow-mr", None, steps=4, modality="t2", guidance=5.0)
    assert torch.equal(ours, plain_loop(networks, steps=4, modality=10, guidance=5.0) / SCALE_FACTOR)


def test_image_only_ddpm_with_given_regions(folder):
    ours, networks = compatible(folder, "ddpm-ct", None, steps=6, regions=["head", "chest"])
    assert torch.equal(ours, plain_loop(networks, steps=6, regions=(0, 1)) / SCALE_FACTOR)


@pytest.mark.parametrize(("window", "overlap"), [((8, 8, 8), 0.25), ((12, 8, 8), 0.4), ((32, 32, 32), 0.6666)])
def test_image_decoded_in_the_windows_of_the_reference(folder, labels, window, overlap):
    latents, networks = compatible(folder, "rflow-ct", labels, steps=2)
    loaded = as_reference(load_networks(get_variant("small-rflow-ct"), CPU))
    volume = LabelVolume(labels, np.diag([*SPACING, 1.0]))
    ours = decode_compatible(loaded, latents, volume, window=Window(window, overlap)).array
    expected = plain_decode(networks, latents, [min(w, n) for w, n in zip(window, (16, 8, 8), strict=True)], overlap)
    expected = np.where(labels == 0, -1000, expected[0, 0].numpy())
    assert ours.dtype == np.float32
    assert np.array_equal(ours, expected)


def test_the_whole_way_from_mask_to_image(folder, labels):
    volume = LabelVolume(labels, np.diag([*SPACING, 1.0]))
    _, networks = compatible(folder, "rflow-ct", labels, steps=2)
    result = synthesize(volume, model="small-rflow-ct", seed=SEED, steps=2, compatible=True, device="cpu")
    latents = plain_loop(networks, labels, steps=2, modality=1) / SCALE_FACTOR
    image = plain_decode(networks, latents, (16, 8, 8), 0.6666)[0, 0].numpy()
    assert np.array_equal(result.image.array, np.where(labels == 0, -1000, image))
    assert np.array_equal(result.latents, latents[0].numpy())
    fast = synthesize(volume, model="small-rflow-ct", seed=SEED, steps=2, noise=reference_noise(networks), device="cpu")
    assert np.abs(fast.image.array - result.image.array).max() < 2.0, "the fast way differs by rounding only"


def test_the_seed_is_followed_by_the_construction_of_the_networks():
    """The first noise values of the reference for seed 0, full-size networks (FACTS 2.4); and the state stays ours."""
    before = torch.get_rng_state()
    with reference_randomness(0, get_variant("rflow-ct").networks):
        drawn = torch.randn(1, 4, 8, 8, 8).half().flatten()[:4]
    assert drawn.tolist() == pytest.approx([-0.57813, -0.14282, -1.52539, 0.44409], abs=1e-5)
    assert torch.equal(before, torch.get_rng_state())


def test_tumors_removed_as_the_reference_does(labels):
    free = remove_tumors_like_reference(labels)
    assert (free[labels == 26] == 1).all()
    assert (free[labels == 23] == 28).all(), "most of the ring is the upper lobe"
    assert (free[labels == 128] == 128).all()
    alone = np.where(labels == 23, 23, np.where(labels == 29, 29, 200)).astype(np.uint8)
    alone[47:57, 9:19, 11:19] = np.where(alone[47:57, 9:19, 11:19] == 23, 23, 200)
    assert (remove_tumors_like_reference(alone)[labels == 23] == 29).all(), "no lobe in the ring: that of the volume"
