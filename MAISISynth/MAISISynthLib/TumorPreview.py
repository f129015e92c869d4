"""The outline of a lesion while it is dragged, and its handles, as actors for slice and 3D views. VTK only."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from maisi.labels import LABELS
from maisi.masks.lesion import Lesion
from MAISISynthLib.Sight import Sight
from MAISISynthLib.TumorHandles import TumorHandles

_LINE_WIDTH, _OPACITY = 2, 0.4
_DOT_PIXELS, _DOT_COLOR = 9, (1.0, 0.85, 0.3)


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


class HandleDots:
    """The handles of a tumor as dots of constant size in one view."""

    def __init__(self) -> None:
        self._points = vtk.vtkPoints()
        dots = vtk.vtkPolyData()
        dots.SetPoints(self._points)
        corners = vtk.vtkVertexGlyphFilter()
        corners.SetInputData(dots)
        self._mapper = vtk.vtkPolyDataMapper2D()
        self._mapper.SetInputConnection(corners.GetOutputPort())
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(self._mapper)
        self.actor.PickableOff()
        self.actor.GetProperty().SetPointSize(_DOT_PIXELS)
        self.actor.GetProperty().SetColor(*_DOT_COLOR)
        self._world = vtk.vtkCoordinate()
        self._world.SetCoordinateSystemToWorld()
        self._shown: tuple[vtk.vtkRenderer | None, list[tuple]] = (None, [])

    def show(self, lesion: Lesion, renderer: vtk.vtkRenderer, sight: Sight) -> bool:
        """Put the dots where the handles of the lesion are; whether anything changed."""
        handles = TumorHandles(lesion, sight).all
        places = [(*handle.pixel, 0.0) if sight.isSlice else tuple(handle.position) for handle in handles]
        if self._shown == (renderer, places):
            return False
        self.hide()
        self._points.Initialize()
        for place in places:
            self._points.InsertNextPoint(place)
        self._points.Modified()
        self._mapper.SetTransformCoordinate(None if sight.isSlice else self._world)  # so they turn with the 3D view
        renderer.AddViewProp(self.actor)
        self._shown = renderer, places
        return True

    def hide(self) -> bool:
        """Take the dots away; whether anything changed."""
        renderer, places = self._shown
        if renderer is not None:
            renderer.RemoveViewProp(self.actor)
        self._shown = None, []
        return bool(places)
