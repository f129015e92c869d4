"""Resampling of each axis on its own: output index o is read at input index o * scale + shift."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

Resample = Callable[..., np.ndarray]  # (array, shape, scale, shift, fill) -> array of shape
HALF = 0.5 + 1e-6  # ties go up, not to even numbers: a part of an array is resampled as in the whole


def _positions(size: int, count: int, scale: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Input position of each of ``size`` output voxels, and whether any of it overlaps the input's ``count`` voxels."""
    at = np.arange(size) * scale + shift
    reach = 0.5 + scale / 2 - 1e-6
    return at, (at > -reach) & (at < count - 1 + reach)


def nearest(
    array: np.ndarray, shape: Sequence[int], scale: Sequence[float], shift: Sequence[float], fill: float
) -> np.ndarray:
    """The nearest voxel; ``fill`` outside."""
    axes = [_positions(*axis) for axis in zip(shape, array.shape, scale, shift, strict=True)]
    out = np.full(shape, fill, array.dtype)
    sources = [
        np.clip(np.floor(at[inside] + HALF).astype(int), 0, n - 1)
        for (at, inside), n in zip(axes, array.shape, strict=True)
    ]
    out[np.ix_(*(inside for _, inside in axes))] = array[np.ix_(*sources)]
    return out


def linear(
    array: np.ndarray, shape: Sequence[int], scale: Sequence[float], shift: Sequence[float], fill: float
) -> np.ndarray:
    """Linear interpolation, low-passed first where it gets coarser; ``fill`` outside. Float32 if the scale is not 1."""
    if tuple(scale) == (1.0, 1.0, 1.0):
        return nearest(array, shape, scale, shift, fill)
    smooth = array.astype(np.float32)
    for axis, factor in enumerate(scale):
        if factor > 1:  # coarser: take away what the new spacing cannot hold
            smooth = ndimage.gaussian_filter1d(smooth, (factor - 1) / 2, axis=axis, mode="nearest")
    out = ndimage.affine_transform(smooth, scale, shift, tuple(shape), order=1, mode="nearest")
    for axis, given in enumerate(zip(shape, array.shape, scale, shift, strict=True)):
        _, inside = _positions(*given)
        np.moveaxis(out, axis, 0)[~inside] = fill
    return out
