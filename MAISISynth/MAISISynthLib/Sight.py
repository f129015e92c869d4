"""How a view looks at the patient: the pixel of a position, and what lies under a pixel; slice and 3D views alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk


@dataclass(frozen=True, eq=False)
class Sight:
    """A view at one moment.

    Attributes:
        toPixels: ``[4, 4]`` homogeneous matrix, RAS mm -> x and y in pixels from the lower left corner, and depth.
        isSlice: the view shows only what is at depth 0.
    """

    toPixels: np.ndarray
    isSlice: bool

    @classmethod
    def ofSlice(cls, sliceNode: slicer.vtkMRMLSliceNode) -> Sight:
        """What a slice view shows."""
        return cls(np.linalg.inv(slicer.util.arrayFromVTKMatrix(sliceNode.GetXYToRAS())), True)

    @classmethod
    def ofCamera(cls, renderer: vtk.vtkRenderer) -> Sight:
        """What a 3D view shows."""
        project = renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix
        matrix = slicer.util.arrayFromVTKMatrix(project(renderer.GetTiledAspectRatio(), -1, 1))  # x and y from -1 to 1
        toWindow = np.eye(4)
        for axis, (size, origin) in enumerate(zip(renderer.GetSize(), renderer.GetOrigin(), strict=True)):
            toWindow[axis, axis], toWindow[axis, 3] = size / 2, origin + size / 2
        return cls(toWindow @ matrix, False)

    def pixels(self, positions: np.ndarray) -> np.ndarray:
        """``[..., 3]`` x, y and depth of ``[..., 3]`` RAS mm."""
        return _through(self.toPixels, positions)

    def under(self, xy: Sequence[float], at: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
        """``[3]`` RAS mm under a pixel: on the slice, or in a 3D view as far from the viewer as ``at``."""
        depth = 0.0 if self.isSlice else self.pixels(np.asarray(at, float))[2]
        return _through(np.linalg.inv(self.toPixels), np.array([*xy, depth]))

    def line(self, xy: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """The line of sight through a pixel: a position in RAS mm and a unit vector away from the viewer."""
        start, end = _through(np.linalg.inv(self.toPixels), np.array([[*xy, 0.0], [*xy, 1.0]]))
        return start, (end - start) / np.linalg.norm(end - start)


def _through(matrix: np.ndarray, positions: np.ndarray) -> np.ndarray:
    homogeneous = positions @ matrix[:, :3].T + matrix[:, 3]
    return homogeneous[..., :3] / homogeneous[..., 3:]


def surfaceAt(renderer: vtk.vtkRenderer, xy: Sequence[float]) -> np.ndarray | None:
    """``[3]`` RAS mm of the surface under a pixel of a 3D view, or None."""
    picker = vtk.vtkCellPicker()
    return np.array(picker.GetPickPosition()) if picker.Pick(*xy, 0, renderer) else None
