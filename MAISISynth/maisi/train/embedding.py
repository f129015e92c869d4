"""Stage 2: a head start for the ControlNet's mask embedding.

The embedding must turn 8 bit planes of label ids into tissue. Learning that through the noise of diffusion training is
slow, so it first learns to predict, from the mask alone, the mean intensity of each 2x2x2 sub-block of a latent voxel.
After that it is frozen and its output is computed once per case.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maisi.models.intensity import IntensityScale
from maisi.models.networks import ControlNet, mask_bits
from maisi.train.cases import Case
from maisi.train.loop import Loop
from maisi.train.pool import case_pool


def train_embedding(
    run: Path,
    network: ControlNet,
    scale: IntensityScale,
    cases: Path,
    minutes: float,
    patch: int = 48,
    batch: int = 4,
    bfloat16: bool = True,
    learning_rate: float = 3e-3,
) -> None:
    """Train the mask embedding of ``network`` in place (resumable in ``run``)."""
    embedding = network.controlnet_cond_embedding
    head = nn.Conv3d(embedding.conv_out.conv.out_channels, 8, kernel_size=1)
    nn.init.kaiming_normal_(embedding.conv_out.conv.weight, nonlinearity="linear")
    embedding.to(memory_format=torch.channels_last_3d)
    pool = case_pool(cases)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        crops = [_crop(pool.draw(rng), patch, rng) for _ in range(batch)]
        labels = torch.from_numpy(np.stack([c[0] for c in crops]))[:, None]
        target = _sub_blocks(scale.to_unit(torch.from_numpy(np.stack([c[1] for c in crops]))[:, None]))
        bits = mask_bits(labels).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            prediction = head(embedding(bits))
        error = F.l1_loss(prediction.float(), target)
        return error, {"loss": error.item()}

    loop = Loop(run, {"embedding": embedding, "head": head}, minutes, learning_rate)
    loop.train(loss)
    loop.averaged()


def _crop(case: Case, patch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels and HU of one of the case's two images, on a cube whose corner is a multiple of 4."""
    corner = [4 * rng.integers((n - patch) // 4 + 1) for n in case.labels.shape[1:]]
    box = tuple(slice(c, c + patch) for c in corner)
    which = rng.integers(2)
    return case.labels[which][box], case.hu[which][box]


def _sub_blocks(unit: Tensor) -> Tensor:
    """``[B, 1, 4i, 4j, 4k]`` -> ``[B, 8, i, j, k]``: means of 2x2x2 voxels, as channels of the latent voxel."""
    means = F.avg_pool3d(unit, 2)
    batch, _, *size = means.shape
    i, j, k = (n // 2 for n in size)
    return means.reshape(batch, i, 2, j, 2, k, 2).permute(0, 2, 4, 6, 1, 3, 5).reshape(batch, 8, i, j, k)
