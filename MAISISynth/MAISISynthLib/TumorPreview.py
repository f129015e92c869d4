"""The outline of a lesion while it is dragged, as an actor for a slice view or a 3D view. VTK only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from maisi.labels import LABELS
from maisi.masks.lesion import Lesion

_LINE_WIDTH, _OPACITY = 2, 0.4


def surfacePolyData(lesion: Lesion) -> vtk.vtkPolyData:
    """The lesion's surface in RAS mm."""
    points, triangles = lesion.surface()
    vtkPoints, cells = vtk.vtkPoints(), vtk.vtkCellArray()
    vtkPoints.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    ids = np.ascontiguousarray(triangles, dtype=np.int64)
    cells.SetData(3, numpy_to_vtkIdTypeArray(ids.ravel(), deep=True))
    polyData = vtk.vtkPolyData()
    polyData.SetPoints(vtkPoints)
    polyData.SetPolys(cells)
    return polyData


def sliceOutline(lesion: Lesion, xyToRas: vtk.vtkMatrix4x4) -> vtk.vtkPolyData:
    """The lines in which a slice cuts the lesion, in the pixels of the slice view.

    Args:
        xyToRas: of the slice node.
    """
    toRas = slicer.util.arrayFromVTKMatrix(xyToRas)
    plane = vtk.vtkPlane()
    plane.SetOrigin(toRas[:3, 3])
    plane.SetNormal(np.cross(toRas[:3, 0], toRas[:3, 1]))
    cutter = vtk.vtkCutter()
    cutter.SetCutFunction(plane)
    cutter.SetInputData(surfacePolyData(lesion))
    toPixels = vtk.vtkTransform()
    toPixels.SetMatrix(xyToRas)
    toPixels.Inverse()
    transform = vtk.vtkTransformPolyDataFilter()
    transform.SetTransform(toPixels)
    transform.SetInputConnection(cutter.GetOutputPort())
    transform.Update()
    return transform.GetOutput()


def besideCamera(renderer: vtk.vtkRenderer, xy: Sequence[float], at: Sequence[float]) -> np.ndarray:
    """``[3]`` the position under a pixel of a 3D view, as far from the viewer as ``at`` (RAS mm)."""
    renderer.SetWorldPoint(*at, 1.0)
    renderer.WorldToDisplay()
    renderer.SetDisplayPoint(*xy, renderer.GetDisplayPoint()[2])
    renderer.DisplayToWorld()
    world = np.array(renderer.GetWorldPoint())
    return world[:3] / world[3]


class TumorPreview:
    """One outline in one view at a time."""

    def __init__(self) -> None:
        self._renderer: vtk.vtkRenderer | None = None
        self._actor: vtk.vtkProp | None = None

    def show(self, lesion: Lesion, renderer: vtk.vtkRenderer, sliceNode: slicer.vtkMRMLSliceNode | None) -> None:
        """Draw the lesion in a view: in a slice view as the line on its slice, else as a surface."""
        self.hide()
        if sliceNode is None:
            mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
            mapper.SetInputData(surfacePolyData(lesion))
            actor.GetProperty().SetOpacity(_OPACITY)
        else:
            mapper, actor = vtk.vtkPolyDataMapper2D(), vtk.vtkActor2D()
            mapper.SetInputData(sliceOutline(lesion, sliceNode.GetXYToRAS()))
            actor.GetProperty().SetLineWidth(_LINE_WIDTH)
        actor.SetMapper(mapper)
        actor.PickableOff()
        actor.GetProperty().SetColor(*(channel / 255 for channel in LABELS[lesion.label].color))
        renderer.AddViewProp(actor)
        self._renderer, self._actor = renderer, actor

    def hide(self) -> None:
        """Take the outline away."""
        if self._renderer is not None:
            self._renderer.RemoveViewProp(self._actor)
        self._renderer = self._actor = None
