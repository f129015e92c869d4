"""From noise to latents: the denoising loop."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from maisi.errors import Cancelled
from maisi.models.networks import COMPRESSION, LATENT_CHANNELS, mask_bits
from maisi.models.weights import Networks
from maisi.sampling.schedule import TRAIN_STEPS, rectified_flow_times
from maisi.volume import LabelVolume

Progress = Callable[[str, int, int], None]


def initial_noise(seed: int, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal latents ``[1, 4, I/4, J/4, K/4]`` for an image of ``shape``; the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, LATENT_CHANNELS, *(n // COMPRESSION for n in shape)), generator=generator)


def check_cancelled(cancelled: Callable[[], bool]) -> None:
    """Raise :class:`Cancelled` if the user asked to stop."""
    if cancelled():
        raise Cancelled("The synthesis was cancelled; nothing was changed.")


@torch.inference_mode()
def sample_latents(
    networks: Networks,
    labels: LabelVolume,
    noise: Tensor,
    steps: int,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Tensor:
    """Integrate the flow from ``noise`` to data under the label map, with Euler steps.

    Args:
        labels: on the model grid. noise: ``[1, 4, i, j, k]``. steps: network evaluations.
        progress: called with ("sample", step, steps) after each step.

    Returns:
        Latents ``[1, 4, i, j, k]`` float32 on the networks' device, in the autoencoder's range.

    Raises:
        Cancelled: between steps, when ``cancelled()`` says so.
    """
    device, variant = networks.device, networks.variant
    mask = torch.from_numpy(np.ascontiguousarray(labels.array))[None, None].to(device)
    embedding = networks.controlnet.embed_mask(mask_bits(mask))
    spacing = torch.tensor(labels.spacing[None] * 100, dtype=torch.float32, device=device)
    modality = torch.tensor([variant.modality_code(None)], device=device)
    times = rectified_flow_times(steps, noise[0, 0].numel(), variant.schedule.time_scale)
    x = noise.to(device)
    for step, (now, following) in enumerate(pairwise(times)):
        check_cancelled(cancelled)
        time = torch.tensor([now], device=device)
        residuals = networks.controlnet(x, time, embedding, modality)
        velocity = networks.unet(x, time, spacing, modality, residuals)
        x = x + velocity * ((now - following) / TRAIN_STEPS)
        progress("sample", step + 1, steps)
    return x / variant.scale_factor
