"""What the networks can do by now: an image of held-out conditions, made as the engine makes it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maisi.decoding import decode
from maisi.models.networks import COMPRESSION, Autoencoder, ControlNet, DiffusionUNet
from maisi.models.weights import Networks
from maisi.options import REGIONS, Options
from maisi.sampling.conditions import Target
from maisi.sampling.sampler import mask_embedding, sample_latents
from maisi.train.stage import Batch
from maisi.train.stages.start import Start
from maisi.volume import ImageVolume, LabelVolume

_STEPS = 20


def sample_image(
    start: Start,
    autoencoder: Autoencoder,
    unet: DiffusionUNet,
    controlnet: ControlNet | None,
    scale_factor: float,
    batch: Batch,
    seed: int,
) -> ImageVolume:
    """An image of the shape, spacing and labels of the first sample of ``batch``, in few steps."""
    variant, latent = start.variant, batch["latent"][0]
    networks = Networks(variant, autoencoder, unet, controlnet, latent.device, scale_factor)
    spacing = batch["spacing"][0].double().cpu().numpy()
    affine = np.diag([*spacing, 1.0])
    labels = None if controlnet is None else LabelVolume(_last(batch["labels"][0]).cpu().numpy(), affine)
    shape = tuple(COMPRESSION * n for n in latent.shape[-3:])
    target = Target(shape, spacing, None if labels is None else labels.array)
    solver = "ddim" if variant.schedule.kind == "ddpm" else None
    regions = _regions(batch) if start.sizes["unet"].get("include_top_region_index_input") else ()
    options = Options(seed=seed, steps=_STEPS, solver=solver, regions=regions, guidance=0.0)
    latents = sample_latents(
        networks,
        target,
        options,
        lambda masks: mask_embedding(networks, masks, torch.float32),
        progress=lambda *_: None,
        cancelled=lambda: False,
    )
    return decode(networks, latents, labels, affine=affine)


def _last(labels: Tensor) -> Tensor:
    """``[1, I, J, K]`` or, of a pair, ``[2, 1, I, J, K]`` -> ``[I, J, K]``, with lesions."""
    return labels.flatten(0, -4)[-1]


def _regions(batch: Batch) -> tuple[str, ...]:
    top, bottom = batch["region"][0].tolist()
    return REGIONS[top : bottom + 1]
