"""Patches of images for the autoencoder, and their augmentation (FACTS 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandBiasField,
    RandFlip,
    RandGibbsNoise,
    RandHistogramShift,
    RandRotate,
    RandRotate90,
    RandScaleIntensity,
    RandShiftIntensity,
    RandSpatialCrop,
    RandZoom,
    SpatialPad,
)
from torch import Tensor

from maisi.modalities import is_mr
from maisi.models.intensity import IntensityScale
from maisi.train.data.settings import DataConfig

ZOOM = (0.5, 1.5)
_SEEDS = 2**32


class Patches:
    """Takes patches ``[1, *patch]`` in the network's range out of images.

    A region is cut out first and only that is changed. So percentiles and extremes, which contrast and histogram
    augmentation look at, are those of the region, not of the whole image as in the reference.
    """

    def __init__(self, config: DataConfig, intensity: IntensityScale, training: bool) -> None:
        self.config, self.intensity, self.training = config, intensity, training
        self._zooms = training and config.augment and config.spacing_mode == "rand_zoom"
        self._transforms = {mr: self._make(mr) for mr in (False, True)}

    def take(self, image: np.ndarray, modality: int, spacing: Sequence[float], rng: np.random.Generator) -> Tensor:
        """One patch, float32.

        Args:
            image: ``[I, J, K]``; CT: HU, MR: 0...1. modality: class label. spacing: mm. rng: decides everything.
        """
        zoom = self._factors(spacing)
        region = _region(image.shape, self._region_size(zoom), rng if self.training else None)
        values = torch.from_numpy(np.array(image[region], np.float32))[None]
        unit = values if is_mr(modality) else self.intensity.to_unit(values)
        if (zoom != 1).any():
            size = [max(round(n * z), 1) for n, z in zip(unit.shape[1:], zoom, strict=True)]
            unit = F.interpolate(unit[None], size=size, mode="trilinear", align_corners=False)[0]
        transform = self._transforms[is_mr(modality)]
        transform.set_random_state(seed=int(rng.integers(_SEEDS)))
        return torch.as_tensor(transform(unit)).as_subclass(Tensor).float().contiguous()

    def _factors(self, spacing: Sequence[float]) -> np.ndarray:
        if self.config.spacing_mode != "fixed":
            return np.ones(3)
        return np.array(spacing) / self.config.spacing

    def _region_size(self, zoom: np.ndarray) -> np.ndarray:
        needed = np.array(self.config.patch) / (ZOOM[0] if self._zooms else 1)
        return np.ceil(needed / zoom).astype(int)

    def _make(self, mr: bool) -> Compose:
        steps = []
        if self.training and self.config.augment:
            steps = [*(_mr_changes() if mr else []), *_changes(self.config.patch)]
        if self._zooms:
            steps += [
                RandZoom(prob=0.3, min_zoom=ZOOM[0], max_zoom=ZOOM[1], keep_size=False),
                RandRotate(prob=0.3, range_x=0.1, range_y=0.1, range_z=0.1),
            ]
        patch = self.config.patch
        return Compose(
            [*steps, SpatialPad(patch), RandSpatialCrop(patch, random_center=self.training, random_size=False)]
        )


def _mr_changes() -> list:
    return [
        RandBiasField(prob=0.3, coeff_range=(0.0, 0.3)),
        RandGibbsNoise(prob=0.3, alpha=(0.5, 1.0)),
        RandAdjustContrast(prob=0.3, gamma=(0.5, 2.0)),
        RandHistogramShift(prob=0.05, num_control_points=10),
    ]


def _changes(patch: Sequence[int]) -> list:
    """Flips, quarter turns where they keep the patch's shape, intensities.

    RandScaleIntensity multiplies by 1 + factor, so the reference's (0.9, 1.1) doubles; 10 % is what was meant (B27).
    """
    planes = [(a, b) for a, b in ((0, 1), (1, 2), (0, 2)) if patch[a] == patch[b]]
    return [
        *(RandFlip(prob=0.5, spatial_axis=axis) for axis in range(3)),
        *(RandRotate90(prob=0.5, max_k=3, spatial_axes=plane) for plane in planes),
        RandScaleIntensity(prob=0.3, factors=0.1),
        RandShiftIntensity(prob=0.3, offsets=0.05),
    ]


def _region(shape: Sequence[int], size: np.ndarray, rng: np.random.Generator | None) -> tuple[slice, ...]:
    """A box of at most ``size`` voxels: anywhere, or without ``rng`` in the middle."""
    size = np.minimum(size, shape)
    room = np.array(shape) - size
    corner = room // 2 if rng is None else rng.integers(room + 1)
    return tuple(slice(int(low), int(low + n)) for low, n in zip(corner, size, strict=True))
