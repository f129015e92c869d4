"""From a painted tumor to a lesion that can be edited by its parameters."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maisi.errors import InputError
from maisi.masks.lesion import MAX_LOBULATION, Lesion
from maisi.masks.sphere import directions

_RAYS = 200  # directions in which the painted surface is measured
_STEPS = 64  # samples of each ray


def fit_lesion(mask: np.ndarray, affine: np.ndarray, label: int) -> Lesion:
    """The lesion that is most like a painted one: an ellipsoid by principal axes, and the measured relief on it.

    The relief keeps what is star-shaped of the painting, so a moved or grown lesion still looks like what was painted;
    what a ray from the center meets in several pieces is drawn together, and the volume stays.

    Args:
        mask: bool ``[I, J, K]``. affine: ``[4, 4]`` voxel index -> RAS mm. label: MAISI id of the lesion.

    Raises:
        InputError: the mask is empty.
    """
    index = np.argwhere(mask)
    if not len(index):
        raise InputError("The tumor has no voxels yet; paint it first, or place one.")
    linear = np.asarray(affine, float)[:3, :3]
    position = index @ linear.T
    center = position.mean(axis=0)
    voxel = linear @ linear.T / 12  # a voxel is a box, not a point
    variance, axes = np.linalg.eigh((position - center).T @ (position - center) / len(index) + voxel)
    radii = np.sqrt(5 * variance)  # of a solid ellipsoid
    radius = _radius(mask, np.linalg.inv(linear), center, axes * radii)
    # Rays over the sphere add up to the volume; what is left of sampling goes into the radii.
    volume = len(index) * abs(np.linalg.det(linear))
    radii = radii * (volume / (4 / 3 * np.pi * radii.prod())) ** (1 / 3)
    relief = np.log((radius / np.cbrt((radius**3).mean())).clip(0.2, 5))
    return Lesion(
        label=label,
        center=tuple(center + np.asarray(affine, float)[:3, 3]),
        radii=tuple(radii),
        rotation=axes,
        lobulation=min(float(relief.std()), MAX_LOBULATION),
        relief=tuple(relief.round(4).tolist()),
    )


def _radius(mask: np.ndarray, inverse: np.ndarray, center: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """``[rays]`` radius, in those of the ellipsoid, that holds as much volume as the mask has along each ray.

    Args:
        inverse: ``[3, 3]`` mm -> voxels. center: mm from voxel 0. axes: half axes of the ellipsoid in mm, as columns.
    """
    steps = directions(_RAYS) @ axes.T @ inverse.T  # voxels per radius
    start = inverse @ center
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in mask.shape])).reshape(3, -1).T - start
    reach = np.linalg.norm(corners @ np.linalg.inv(inverse @ axes).T, axis=1).max()
    distance = (np.arange(_STEPS * 2) + 0.5) * min(reach, 4.0) / (_STEPS * 2)
    points = start + steps[:, None, :] * distance[None, :, None]
    # Half a voxel of blur at most: order 1 between 0 and 1 crosses one half at the voxel's face.
    inside = ndimage.map_coordinates(mask.astype(np.float32), points.transpose(2, 0, 1), order=1, cval=0.0) > 0.5
    shells = np.diff(np.append(0, distance + distance[0]) ** 3)
    return np.cbrt(inside @ shells)
