"""The grids that images are prepared on: the paper's rule for sizes, fixed spacing, and down-sampled copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maisi.geometry import GridPlan, GridRules, closest_axes, plan_grid
from maisi.train.prepared import Settings
from maisi.volume import Volume

Size = tuple[int, int, int]
COPIES = ("none", "smallest", "halvings")
_ANY = 10**9


def nearest_size(shape: Sequence[int], multiple: int) -> Size:
    """The nearest multiple along each axis, half cases to the even one, at least one (FACTS 5.1): 192 -> 256."""
    return tuple(max(round(n / multiple), 1) * multiple for n in shape)


def copy_sizes(size: Size, multiple: int, copies: str) -> list[Size]:
    """Sizes of the down-sampled copies of an image of ``size``, largest first; the paper does not tell its own.

    Args:
        copies: "none"; "smallest": ``multiple`` along each axis, what stage 1 trains on; "halvings": half the size,
            a quarter ... by the same rule down to the smallest, so that the larger buckets get more images, too.
    """
    smallest = (multiple,) * 3
    if copies == "none" or size == smallest:
        return []
    sizes = [smallest]
    if copies == "halvings":
        divisors = (2**n for n in range(1, max(size).bit_length()))
        sizes = [nearest_size([n / d for n in size], multiple) for d in divisors]
    return [s for s in dict.fromkeys(sizes) if s != size]


def plan_sizes(volume: Volume, settings: Settings) -> list[GridPlan]:
    """From the grid of ``volume`` to the grid of the prepared image, then to those of its copies; all in RAS order.

    Raises:
        InputError: see :func:`maisi.geometry.plan_grid`.
    """
    if settings.spacing is not None:
        first = plan_grid(volume.shape, volume.affine, _fixed(settings))
        size = first.model_shape
    else:
        order, _ = closest_axes(volume.affine)
        size = nearest_size([volume.shape[axis] for axis in order], settings.multiple)
        first = resized(volume, size)
    return [first, *(resized(volume, smaller) for smaller in copy_sizes(size, settings.multiple, settings.copies))]


def resized(volume: Volume, size: Size) -> GridPlan:
    """The whole field of view of ``volume`` on a grid of ``size``, whose axes are the closest to RAS."""
    order, flips = closest_axes(volume.affine)
    count = np.array([volume.shape[axis] for axis in order])
    scale = count / size
    shift = (count - 1) / 2 - scale * (np.array(size) - 1) / 2
    return GridPlan(volume.shape, volume.affine, size, order, flips, tuple(scale.tolist()), tuple(shift.tolist()))


def _fixed(settings: Settings) -> GridRules:
    """A grid of one spacing, padded to the multiple."""
    return GridRules(
        spacing_min=settings.spacing,
        spacing_max=settings.spacing,
        multiple=settings.multiple,
        min_size=settings.multiple,
        max_size=_ANY,
        max_voxels=_ANY**2,
    )
