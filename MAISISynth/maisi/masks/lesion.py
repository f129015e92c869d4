"""Lesions as parameters: an ellipsoid with lobulation, placed inside its host organ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from maisi.errors import InputError
from maisi.labels import LABELS
from maisi.masks.noise import smooth_noise
from maisi.volume import LabelVolume

# Plausible radii in mm of the lesions the embedded model knows.
RADIUS_MM = {23: (4, 22), 24: (5, 18), 26: (5, 30), 27: (7, 20), 128: (5, 15), 129: (6, 26), 116: (6, 22), 117: (6, 22)}


@dataclass(frozen=True)
class Lesion:
    """A lobulated ellipsoid.

    Attributes:
        label: MAISI id. center: RAS mm. radii: mm along the rotated axes. rotation: ``[3, 3]``, columns = axes.
        lobulation: relative amplitude of the surface's irregularity (0 = smooth ellipsoid).
        seed: of the irregularity.
    """

    label: int
    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    rotation: np.ndarray
    lobulation: float = 0.15
    seed: int = 0

    def rasterize(self, grid: LabelVolume) -> np.ndarray:
        """bool ``[I, J, K]``: the lesion's voxels on the grid of ``grid``, not clipped to any organ."""
        mask = np.zeros(grid.shape, bool)
        reach = max(self.radii) * (1 + 3 * self.lobulation)
        inverse = np.linalg.inv(grid.affine)
        middle = inverse[:3, :3] @ self.center + inverse[:3, 3]
        extent = reach * np.linalg.norm(inverse[:3, :3], axis=1)
        low = np.floor(middle - extent).astype(int).clip(0)
        high = (np.ceil(middle + extent).astype(int) + 1).clip(0, grid.shape)
        if (low >= high).any():
            return mask
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        index = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
        offset = index @ grid.affine[:3, :3].T + grid.affine[:3, 3] - self.center
        distance = np.linalg.norm((offset @ self.rotation) / self.radii, axis=-1)
        bumps = smooth_noise(distance.shape, grid.spacing, 0.45 * min(self.radii), np.random.default_rng(self.seed))
        mask[box] = distance * (1 + self.lobulation * bumps.clip(-2, 2)) < 1
        return mask


def random_lesion(labels: LabelVolume, label: int, rng: np.random.Generator, radius_mm: float | None = None) -> Lesion:
    """A random lesion of kind ``label`` centred in one of its host organs.

    Raises:
        InputError: ``labels`` has no host organ for it.
    """
    hosts = np.isin(labels.array, LABELS[label].hosts)
    if not hosts.any():
        raise InputError(f"There is no organ here in which a {LABELS[label].name} can be placed.")
    radius = rng.uniform(*RADIUS_MM[label]) if radius_mm is None else radius_mm
    # Centres too near the organ's surface would leave only a sliver after clipping.
    depth = ndimage.distance_transform_edt(hosts, sampling=labels.spacing)
    deep = depth >= min(0.6 * radius, 0.7 * depth.max())
    index = np.argwhere(deep)[rng.integers(deep.sum())]
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return Lesion(
        label=label,
        center=tuple(labels.affine[:3, :3] @ index + labels.affine[:3, 3]),
        radii=tuple(radius * rng.uniform(0.8, 1.25, 3)),
        rotation=rotation,
        lobulation=rng.uniform(0.05, 0.25),
        seed=int(rng.integers(2**31)),
    )


def add_lesion(labels: LabelVolume, lesion: Lesion) -> LabelVolume:
    """``labels`` with the lesion's id on the voxels that its host organs (or an older lesion of its kind) give up.

    Raises:
        InputError: not one voxel of the lesion lies in a host organ.
    """
    label = LABELS[lesion.label]
    mask = lesion.rasterize(labels) & np.isin(labels.array, (*label.hosts, lesion.label))
    if not mask.any():
        raise InputError(f"The {label.name} lies outside the organs in which it can grow; place it inside one of them.")
    array = labels.array.copy()
    array[mask] = lesion.label
    return LabelVolume(array, labels.affine)
