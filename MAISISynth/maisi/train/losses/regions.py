"""Where two label maps differ, on the latent grid: regions and weights of the ControlNet's losses (FACTS 5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maisi.models.networks import COMPRESSION


class Regions(NamedTuple):
    """Weights 0...1 ``[B, 1, i, j, k]`` of the latent voxels inside what changed, and of those surely outside."""

    inside: Tensor
    outside: Tensor


def changed_regions(labels: Tensor, healed: Tensor, sampling: str = "fraction") -> Regions:
    """Region of interest m = 1(labels != healed) and background 1 - dilate(m), brought from voxels to latents.

    Args:
        labels, healed: ids ``[B, 1, 4i, 4j, 4k]``.
        sampling: "fraction": inside is the part of the 64 voxels that changed, so that the smallest tumor counts;
            "any": 1 wherever one voxel did; "nearest": the first voxel of each block tells, as in the released code,
            which misses tumors smaller than a latent voxel. For the first two a latent voxel is outside when no voxel
            of it lies in the dilated region.
    """
    changed = (labels != healed).float()
    # A maximum over a block and one voxel around it: the 3x3x3 dilation and the reduction at once.
    window = 3 if sampling == "nearest" else COMPRESSION + 2
    touched = F.max_pool3d(changed, window, stride=COMPRESSION, padding=1)
    return Regions(_reduced(changed, sampling), 1 - touched)


def lesion_weight(labels: Tensor, lesions: Sequence[int], weight: float, sampling: str = "fraction") -> Tensor:
    """Weights ``[B, 1, i, j, k]`` of latent voxels: ``weight`` on ``lesions``, 1 elsewhere, in between where mixed.

    Args:
        labels: ids ``[B, 1, 4i, 4j, 4k]``. sampling: as in :func:`changed_regions`.
    """
    wanted = torch.tensor(lesions, dtype=labels.dtype, device=labels.device)
    return 1 + (weight - 1) * _reduced(torch.isin(labels, wanted).float(), sampling)


def coarser(regions: Regions, shape: Sequence[int]) -> Regions:
    """``regions`` on a coarser grid of ``shape``: mean of the inside; outside where all was outside."""
    return Regions(F.adaptive_avg_pool3d(regions.inside, shape), -F.adaptive_max_pool3d(-regions.outside, shape))


def _reduced(mask: Tensor, sampling: str) -> Tensor:
    if sampling == "nearest":
        return mask[..., ::COMPRESSION, ::COMPRESSION, ::COMPRESSION]
    return (F.avg_pool3d if sampling == "fraction" else F.max_pool3d)(mask, COMPRESSION)
