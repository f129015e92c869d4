"""A real CT's own noise and fine structure, which the autoencoder does not give back, on new values."""

from __future__ import annotations

import numpy as np

NOISE_LIMIT = 2.5  # standard deviations; what exceeds them is structure, not noise


def with_own_texture(image: np.ndarray, base: np.ndarray, values: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """``values`` with the texture that ``image`` has beyond ``base``.

    Args:
        image: HU of a real CT ``[I, J, K]``. base: the same after the autoencoder. values: base with the edit.
        changed: where tissue was exchanged: only noise is kept there, vessels and borders of the old tissue are not.

    Returns:
        float32; equal to ``image`` where ``values`` equals ``base``, apart from structure in ``changed``.
    """
    texture = image - base
    around = texture[~changed]
    if changed.any() and around.size:
        middle = np.median(around)
        limit = NOISE_LIMIT * 1.4826 * np.median(np.abs(around - middle))
        texture = np.where(changed, texture.clip(middle - limit, middle + limit), texture)
    return values + texture
