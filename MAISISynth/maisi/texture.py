"""A real CT's own noise and fine structure, which the autoencoder does not give back, on new values."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

NOISE_LIMIT = 2.5  # standard deviations; what exceeds them is structure, not noise
LARGEST_GAIN = 4.0
ENOUGH = 30  # voxels that tell a noise level
_MAD_TO_STD = 1.4826
_SECOND_DIFFERENCES = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float32) / 6


def noise_level(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> float:
    """Standard deviation in HU of the noise of ``image`` within ``mask``; vessels and edges hardly count.

    The response to a mask of second differences, which planes and straight edges do not excite (Immerkaer, Computer
    Vision and Image Understanding 64, 1996), read by its median absolute value, in the plane of the finest voxels.

    Args:
        image, mask: ``[I, J, K]``. spacing: mm.
    """
    return _typical(_second_differences(image, spacing)[mask])


def noise_within(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> float | None:
    """:func:`noise_level` in the depth of ``mask``, or in all of it where it is thin; None for less than 30 voxels."""
    return noise_level(image, _depth(mask), spacing) if mask.sum() >= ENOUGH else None


def with_own_texture(
    image: np.ndarray,
    base: np.ndarray,
    values: np.ndarray,
    changed: np.ndarray,
    noise: float | None,
    spacing: np.ndarray,
) -> np.ndarray:
    """``values`` with the texture that ``image`` has beyond ``base``.

    Args:
        image: HU of a real CT ``[I, J, K]``. base: the same after the autoencoder. values: base with the edit.
        changed: where tissue was exchanged: only noise is kept there, vessels and borders of the old tissue are not.
        noise: level that ``changed`` gets, see :func:`noise_level`; None leaves it as it is. spacing: mm.

    Returns:
        float32; equal to ``image`` where ``values`` equals ``base``, apart from ``changed``.
    """
    texture = image - base
    if not changed.any() or changed.all():
        return values + texture
    around = texture[~changed]
    middle = np.median(around)
    limit = NOISE_LIMIT * _typical(around - middle)
    kept = np.where(changed, texture.clip(middle - limit, middle + limit) - middle, 0)
    gain = 1.0 if noise is None else _matching_gain(values, kept, _depth(changed), noise, spacing)
    return values + np.where(changed, middle + gain * kept, texture)


def _matching_gain(
    values: np.ndarray, noise: np.ndarray, mask: np.ndarray, wanted: float, spacing: np.ndarray
) -> float:
    """The factor that gives ``values + factor * noise`` the noise level ``wanted`` within ``mask``, by bisection."""
    still, moving = (_second_differences(array, spacing)[mask] for array in (values, noise))
    low, high = 0.0, LARGEST_GAIN
    for _ in range(10):
        gain = (low + high) / 2
        if _typical(still + gain * moving) < wanted:
            low = gain
        else:
            high = gain
    return (low + high) / 2


def _depth(mask: np.ndarray) -> np.ndarray:
    """``mask`` without its outermost voxels, where an edge would count as noise, unless too few remain."""
    inner = ndimage.binary_erosion(mask)
    return inner if inner.sum() >= ENOUGH else mask


def _second_differences(image: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    kernel = np.expand_dims(_SECOND_DIFFERENCES, int(np.argmax(spacing)))
    return ndimage.convolve(image.astype(np.float32), kernel, mode="nearest")


def _typical(response: np.ndarray) -> float:
    return float(_MAD_TO_STD * np.median(np.abs(response)))
