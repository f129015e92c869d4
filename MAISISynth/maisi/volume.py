"""The two values that travel everywhere: a label map and an image, each with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maisi.errors import InputError

Box = tuple[slice, slice, slice]  # of voxels along I, J, K


@dataclass(frozen=True)
class Volume:
    """A 3D array and the affine that maps its voxel indices to the patient.

    Attributes:
        array: ``[I, J, K]`` voxels.
        affine: ``[4, 4]`` float64, voxel index (centre) -> RAS position in mm. May be oblique, flipped, anisotropic.

    Raises:
        InputError: the array is not 3D, is empty, or the affine is not 4x4, finite and invertible.
    """

    array: np.ndarray
    affine: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", np.asarray(self.affine, dtype=np.float64))
        if self.array.ndim != 3 or 0 in self.array.shape:
            raise InputError(f"A volume must be a non-empty 3D array, got shape {self.array.shape}.")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise InputError("The volume's affine must be a 4x4 matrix of finite numbers.")
        if (self.spacing < 1e-6).any() or abs(np.linalg.det(self.affine[:3, :3])) < 1e-9:
            raise InputError("The voxel spacing is zero along an axis; set a spacing in mm greater than zero.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along I, J, K."""
        return self.array.shape

    @property
    def spacing(self) -> np.ndarray:
        """``[3]`` voxel size in mm along I, J, K (lengths of the affine's columns, so exact for oblique grids)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def field_of_view(self) -> np.ndarray:
        """``[3]`` extent in mm along I, J, K, outer face to outer face."""
        return self.spacing * np.array(self.shape)

    def same_grid(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both volumes have the same shape and the same affine within ``tolerance_mm`` at every corner."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1])).reshape(4, -1)
        return bool(np.abs((self.affine - other.affine) @ corners).max() < tolerance_mm)


class LabelVolume(Volume):
    """A label map of MAISI ids (0 background ... 132, 200 body; any id 0-255), dtype uint8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.array.dtype != np.uint8:
            raise InputError(f"A label map must hold ids 0-255 as uint8, got {self.array.dtype}.")


class ImageVolume(Volume):
    """A CT in Hounsfield units, int16 or float32."""
