"""New anatomies from old: random affine and elastic deformation of a label map."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maisi.masks.noise import smooth_noise
from maisi.volume import LabelVolume


def deform(
    labels: LabelVolume,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    spacing: np.ndarray,
    center: np.ndarray | None = None,
    strength: float = 1.0,
) -> LabelVolume:
    """A deformed resampling of ``labels`` on a new axis-aligned grid; left and right are never exchanged.

    Args:
        shape, spacing: of the new grid ``[I, J, K]``, mm.
        center: RAS mm of the new grid's centre (default: the centre of the old grid).
        strength: 1 gives scaling of about 10 %, rotation of about 5 degrees and elastic shifts of about 6 mm; 0 none.

    Returns:
        The new label map (nearest neighbour; 0 outside the old one).
    """
    spacing = np.asarray(spacing, float)
    middle = labels.affine[:3, :3] @ ((np.array(labels.shape) - 1) / 2) + labels.affine[:3, 3]
    center = middle if center is None else np.asarray(center, float)
    offsets = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    points = np.stack(np.meshgrid(*offsets, indexing="ij")).astype(np.float32)
    for axis in range(3):
        points[axis] += strength * 6 * smooth_noise(shape, spacing, 60, rng)
        points[axis] += strength * 2 * smooth_noise(shape, spacing, 22, rng)
    scale = np.diag(np.exp(strength * rng.normal(0, 0.09, 3).clip(-0.18, 0.18)))
    turn = _rotation(strength * rng.normal(0, 0.07, 3))
    to_index = np.linalg.inv(labels.affine[:3, :3])
    matrix = to_index @ turn @ scale
    origin = to_index @ (center - labels.affine[:3, 3])
    index = (
        np.einsum("ab,bijk->aijk", matrix.astype(np.float32), points) + origin.astype(np.float32)[:, None, None, None]
    )
    array = ndimage.map_coordinates(labels.array, index, order=0, mode="constant", cval=0)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = center - (np.array(shape) - 1) / 2 * spacing
    return LabelVolume(array, affine)


def _rotation(angles: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix
