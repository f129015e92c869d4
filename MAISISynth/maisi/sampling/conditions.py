"""What the networks are told beside the mask: voxel spacing, modality, body regions (FACTS 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maisi.errors import InputError
from maisi.models.networks import Conditions
from maisi.models.variants import Variant
from maisi.options import REGIONS, Options
from maisi.regions import find_regions

SCALE = 100  # of spacings and of one-hot regions


@dataclass(frozen=True)
class Target:
    """The image to be made, on the model grid.

    Attributes:
        shape: voxels. spacing: ``[3]`` mm. labels: uint8 of ``shape`` MAISI ids, or None for an image without a mask.
    """

    shape: tuple[int, int, int]
    spacing: np.ndarray
    labels: np.ndarray | None = None


def make_conditions(variant: Variant, target: Target, options: Options, device: torch.device) -> Conditions:
    """Conditions of one image (batch 1), float32.

    Raises:
        InputError: the model does not make the modality asked for, or needs body regions that nobody told.
    """
    code = variant.modality_code(options.modality)
    top = bottom = None
    if variant.networks["unet"].get("include_top_region_index_input"):
        regions = body_regions(target, options)
        top, bottom = (_one_hot(region, device) for region in (regions[0], regions[-1]))
    elif options.regions:
        raise InputError(f"The model {variant.name} takes no body regions; leave them out.")
    return Conditions(
        spacing=spacing_condition(target, options.compatible).to(device),
        modality=None if code is None else torch.tensor([code], device=device),
        top=top,
        bottom=bottom,
    )


def spacing_condition(target: Target, compatible: bool = False) -> Tensor:
    """Spacing ``[1, 3]`` in mm x 100, float32; ``compatible`` rounds to half precision where the reference does.

    The reference rounds before the product for an image from a mask, after it for one without (FACTS 2.3).
    """
    spacing = torch.from_numpy(np.array(target.spacing, dtype=np.float64))[None]
    if not compatible:
        return (spacing * SCALE).float()
    if target.labels is None:
        return (spacing * SCALE).half().float()
    return (spacing.float().half() * SCALE).float()


def body_regions(target: Target, options: Options) -> Sequence[str]:
    """Regions from head to pelvis that the image shows: as the options say, else by the organs present."""
    if options.regions:
        return sorted(options.regions, key=REGIONS.index)
    if target.labels is None:
        raise InputError(f"This model needs to know the body regions; give some of: {', '.join(REGIONS)}.")
    return find_regions(target.labels) or REGIONS  # the reference fails where no marker organ is present


def _one_hot(region: str, device: torch.device) -> Tensor:
    return SCALE * torch.eye(len(REGIONS), device=device)[REGIONS.index(region)][None]
