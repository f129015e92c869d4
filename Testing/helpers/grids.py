"""Grids to try things on."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def anOblique(spacing=(1.5, 2.0, 3.0), flip=(1, 1, 1), degrees=(12, -25, 40), origin=(40.0, -70.0, 15.0)) -> np.ndarray:
    """A rotated, anisotropic, perhaps mirrored affine: voxel index -> RAS mm."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(np.multiply(spacing, flip))
    affine[:3, 3] = origin
    return affine
