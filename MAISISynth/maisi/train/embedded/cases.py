"""Label maps of training cases: deformed real maps and phantoms, each without and with lesions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maisi.labels import LABELS, LESIONS, remove_lesions
from maisi.masks.deform import deform
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.volume import LabelVolume

CASE_SHAPE = (112, 96, 96)
PHANTOM = "phantom"
_SMALLEST_HOST = 60  # voxels


def make_labels(
    seed: int,
    maps: Mapping[str, LabelVolume],
    phantom_share: float = 0.25,
    shape: tuple[int, int, int] = CASE_SHAPE,
) -> tuple[LabelVolume, LabelVolume, str]:
    """Case ``seed``: a new anatomy without lesions, the same with up to five of them, and where it comes from.

    Args:
        maps: real label maps with a body (200) to deform, by name. phantom_share: fraction made procedurally.

    Returns:
        Both label maps on one grid of 2.2 to 4 mm, and a name of ``maps`` or :data:`PHANTOM`.
    """
    rng = np.random.default_rng(seed)
    spacing = np.full(3, rng.uniform(2.2, 4.0))
    spacing[2] *= rng.uniform(0.85, 1.15)
    if not maps or rng.random() < phantom_share:
        name = PHANTOM
        before = phantom(int(rng.integers(2**31)), shape, tuple(spacing), center_z=rng.uniform(-240, 110))
        before = deform(before, rng, shape, spacing, center=_wander(before, rng, (35, 25, 0)), strength=0.4)
    else:
        name = sorted(maps)[rng.integers(len(maps))]
        before = deform(maps[name], rng, shape, spacing, center=_wander(maps[name], rng, (40, 30, None)))
    before = LabelVolume(remove_lesions(before.array), before.affine)  # "without" means without
    return before, _with_lesions(before, rng), name


def _with_lesions(labels: LabelVolume, rng: np.random.Generator) -> LabelVolume:
    for _ in range(rng.choice([0, 1, 2, 3, 4, 5], p=[0.06, 0.16, 0.26, 0.26, 0.16, 0.1])):
        kinds = [k for k in LESIONS if np.isin(labels.array, LABELS[k].hosts).sum() > _SMALLEST_HOST]
        if kinds:
            labels = add_lesion(labels, random_lesion(labels, kinds[rng.integers(len(kinds))], rng))
    return labels


def _wander(labels: LabelVolume, rng: np.random.Generator, reach: tuple[float | None, ...]) -> np.ndarray:
    """A random grid centre: within ``reach`` mm of the body's centre; None = anywhere along the body."""
    inside = np.argwhere(labels.array)[::97]
    points = inside @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    low, high = points.min(0), points.max(0)
    spans = [(r if r is not None else max(0.0, (b - a) / 2 - 90)) for r, a, b in zip(reach, low, high, strict=True)]
    return (low + high) / 2 + rng.uniform(-1, 1, 3) * spans
