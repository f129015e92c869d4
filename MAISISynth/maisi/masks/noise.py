"""Smooth random fields: the irregularity of shapes, deformations and tissue texture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def smooth_noise(
    shape: tuple[int, int, int], spacing: np.ndarray, length_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """A Gaussian random field with correlation length ``length_mm``, zero mean, unit variance in expectation.

    Made on a coarse grid and interpolated, so the cost does not grow with the correlation length.

    Args:
        shape: ``(I, J, K)``. spacing: ``[3]`` mm.

    Returns:
        float32 ``[I, J, K]``.
    """
    spacing = np.asarray(spacing, dtype=float)
    cell = np.maximum(spacing, length_mm / 2.0)
    coarse = np.ceil(np.array(shape) * spacing / cell).astype(int) + 4
    sigma = length_mm / cell
    field = ndimage.gaussian_filter(rng.standard_normal(coarse).astype(np.float32), sigma, mode="wrap")
    field /= np.prod(_kernel_norm(sigma))
    # A random sub-cell offset, so that the grid of the coarse field does not show.
    matrix = spacing / cell
    return ndimage.affine_transform(
        field, matrix, offset=rng.uniform(0, 2, 3), output_shape=shape, order=1, mode="wrap"
    )


def _kernel_norm(sigma: np.ndarray) -> np.ndarray:
    """L2 norm of a sampled Gaussian per axis: what filtering does to the standard deviation of white noise."""
    offsets = np.arange(-40, 41)
    weights = [np.exp(-0.5 * (offsets / s) ** 2) for s in sigma]
    return np.array([np.sqrt(((w / w.sum()) ** 2).sum()) for w in weights])
