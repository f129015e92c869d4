"""Stage 2: a head start for the ControlNet's mask embedding.

The embedding must turn 8 bit planes of label ids into tissue. Learning that through the noise of diffusion training is
slow, so it first learns to predict, from the mask alone, the mean intensity of each 2x2x2 sub-block of a latent voxel.
After that it is frozen and its output is computed once per case. Voxels of rare labels weigh more: a lesion has a
thousandth of the voxels, and its id may differ from that of the lung by a single bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maisi.labels import LESIONS
from maisi.models.intensity import IntensityScale
from maisi.models.networks import COMPRESSION, ControlNet, mask_bits
from maisi.train.cases import Case
from maisi.train.loop import Loop
from maisi.train.pool import Pool, case_pool


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
    anchor: nn.Module | None = None,
) -> None:
    """Train the mask embedding of ``network`` in place (resumable in ``run``).

    Args:
        cases: folder of rendered cases. patch, batch: cube edge in voxels and number of cubes.
        anchor: an embedding that diffusion networks were already trained with; away from lesions the new one stays
            close to it, so that their training can go on.
    """
    embedding = network.controlnet_cond_embedding
    head = nn.Conv3d(embedding.conv_out.conv.out_channels, 8, kernel_size=1)
    if anchor is None:
        nn.init.kaiming_normal_(embedding.conv_out.conv.weight, nonlinearity="linear")
    else:
        embedding.load_state_dict(anchor.state_dict())
        anchor.requires_grad_(False)
    embedding.to(memory_format=torch.channels_last_3d)
    pool = case_pool(cases)
    weight_of = _label_weights(pool)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        crops = [_crop(pool.draw(rng), patch, rng) for _ in range(batch)]
        labels = torch.from_numpy(np.stack([c[0] for c in crops]))[:, None]
        target = _sub_blocks(scale.to_unit(torch.from_numpy(np.stack([c[1] for c in crops]))[:, None]))
        bits = mask_bits(labels).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            features = embedding(bits)
            prediction = head(features).float()
        weight = F.avg_pool3d(weight_of[labels.long()], COMPRESSION)
        error = ((prediction - target).abs() * weight).mean()
        drift = torch.zeros(())
        if anchor is not None:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                former = anchor(bits)
            elsewhere = 1 - F.max_pool3d(torch.isin(labels, torch.tensor(LESIONS)).float(), COMPRESSION)
            drift = ((features.float() - former.float()) ** 2 * elsewhere).mean()
        return error + drift, {"loss": error.item(), "drift": drift.item()}

    loop = Loop(run, {"embedding": embedding, "head": head}, minutes, learning_rate)
    loop.train(loss)
    loop.averaged()


def _label_weights(pool: Pool[Case], count: int = 60) -> Tensor:
    """Weight by label id ``[256]``: one over the square root of its frequency, 1 for the average voxel."""
    rng = np.random.default_rng(0)
    histogram = sum(np.bincount(pool.draw(rng).labels[1].ravel(), minlength=256) for _ in range(count))
    frequency = np.maximum(histogram / histogram.sum(), 1e-5)
    weight = 1 / np.sqrt(frequency)
    return torch.from_numpy(weight / (weight * histogram).sum() * histogram.sum()).float()


def _crop(case: Case, patch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels and HU of one of the case's two images, on a cube whose corner is a multiple of 4; often at a lesion."""
    room = np.array(case.labels.shape[1:]) - patch
    lesion = np.argwhere(case.labels[0] != case.labels[1])
    if len(lesion) and rng.random() < 0.6:
        corner = lesion[rng.integers(len(lesion))] - patch // 2 + rng.integers(-patch // 4, patch // 4, 3)
    else:
        corner = rng.integers(room + 1)
    corner = corner.clip(0, room) // COMPRESSION * COMPRESSION
    box = tuple(slice(c, c + patch) for c in corner)
    which = int(rng.random() < 0.7)
    return case.labels[which][box], case.hu[which][box]


def _sub_blocks(unit: Tensor) -> Tensor:
    """``[B, 1, 4i, 4j, 4k]`` -> ``[B, 8, i, j, k]``: means of 2x2x2 voxels, as channels of the latent voxel."""
    means = F.avg_pool3d(unit, 2)
    batch, _, *size = means.shape
    i, j, k = (n // 2 for n in size)
    return means.reshape(batch, i, 2, j, 2, k, 2).permute(0, 2, 4, 6, 1, 3, 5).reshape(batch, 8, i, j, k)
