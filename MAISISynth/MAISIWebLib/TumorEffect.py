"""The mouse in slice views while the Tumor tool is on: a click places, a drag moves, Shift and the wheel grow.

Nothing is decided here: the effect tells what the user did, in RAS mm, and draws a ring where the tumor would be.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk
from trame_slicer.segmentation import SegmentationEffect, SegmentationEffectPipeline
from undo_stack import Signal

RING_COLOR = (1.0, 0.85, 0.3)
WHEEL = {vtk.vtkCommand.MouseWheelForwardEvent: 1, vtk.vtkCommand.MouseWheelBackwardEvent: -1}


class TumorEffect(SegmentationEffect):
    """The tool as the segment editor knows it.

    Attributes:
        placing: whether the next click places a tumor.
        radius: mm of the ring that is shown while placing.
        pick: RAS -> (segment ID, radius in mm) of the tumor there, or None.
    """

    placed = Signal(np.ndarray)  # RAS mm
    moved = Signal(str, np.ndarray)  # segment ID, RAS mm to move by
    scrolled = Signal(int)  # 1 to grow, -1 to shrink

    def __init__(self) -> None:
        super().__init__()
        self.placing = False
        self.radius = 10.0
        self.pick: Callable[[np.ndarray], tuple[str, float] | None] = lambda _position: None

    def _create_pipeline(self, viewNode: slicer.vtkMRMLAbstractViewNode, _parameter) -> TumorPipeline | None:
        return TumorPipeline() if isinstance(viewNode, slicer.vtkMRMLSliceNode) else None


class TumorPipeline(SegmentationEffectPipeline[TumorEffect]):
    """The mouse in one slice view."""

    def __init__(self) -> None:
        super().__init__()
        self._ring = Ring()
        self._drag: tuple[str, float, np.ndarray] | None = None  # segment ID, radius, RAS mm where it was taken
        self._reactions = {
            int(vtk.vtkCommand.MouseMoveEvent): self._onMove,
            int(vtk.vtkCommand.LeftButtonPressEvent): self._onPress,
            int(vtk.vtkCommand.LeftButtonReleaseEvent): self._onRelease,
            **dict.fromkeys(map(int, WHEEL), self._onWheel),
        }

    def CanProcessInteractionEvent(self, event) -> tuple[bool, float]:
        kind = event.GetType()
        shift = event.GetModifiers() & vtk.vtkEvent.ShiftModifier
        return bool(self.IsActive() and kind in self._reactions and (kind not in WHEEL or shift)), 0.0

    def ProcessInteractionEvent(self, event) -> bool:
        return self._reactions[event.GetType()](event)

    def GetWidgetState(self) -> int:
        return slicer.vtkMRMLAbstractWidget.WidgetStateUser if self._drag else super().GetWidgetState()

    def OnRendererAdded(self, renderer: vtk.vtkRenderer | None) -> None:
        if renderer is not None:
            renderer.AddViewProp(self._ring.actor)

    def OnRendererRemoved(self, renderer: vtk.vtkRenderer) -> None:
        renderer.RemoveViewProp(self._ring.actor)

    def LoseFocus(self, _event) -> None:
        self._drag = None
        self._showRing(None, 0.0)

    def _onMove(self, event) -> bool:
        position = np.array(event.GetWorldPosition())
        if self._drag:
            self._showRing(position, self._drag[1])
        elif self._effect.placing:
            self._showRing(position, self._effect.radius)
        else:
            self._showRing(None, 0.0)
        return self._drag is not None or self._effect.placing

    def _onPress(self, event) -> bool:
        position = np.array(event.GetWorldPosition())
        if self._effect.placing:
            self._effect.placed(position)
            return True
        picked = self._effect.pick(position)
        self._drag = (*picked, position) if picked else None
        return self._drag is not None

    def _onRelease(self, event) -> bool:
        if self._drag is None:
            return False
        (segmentId, _radius, start), self._drag = self._drag, None
        self._showRing(None, 0.0)
        way = np.array(event.GetWorldPosition()) - start
        if np.linalg.norm(way) > 0.5:  # mm; less is a click
            self._effect.moved(segmentId, way)
        return True

    def _onWheel(self, event) -> bool:
        self._effect.scrolled(WHEEL[event.GetType()])
        return True

    def _showRing(self, position: np.ndarray | None, radius: float) -> None:
        if self._ring.show(self.GetViewNode(), position, radius):
            self.RequestRender()


class Ring:
    """A circle in a slice view."""

    def __init__(self) -> None:
        self._circle = vtk.vtkRegularPolygonSource()
        self._circle.SetNumberOfSides(72)
        self._circle.GeneratePolygonOff()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputConnection(self._circle.GetOutputPort())
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(mapper)
        self.actor.GetProperty().SetColor(RING_COLOR)
        self.actor.GetProperty().SetLineWidth(2)
        self.actor.VisibilityOff()

    def show(self, sliceNode: slicer.vtkMRMLSliceNode, position: np.ndarray | None, radius: float) -> bool:
        """Put it at RAS mm with a radius in mm (None: hide it); whether anything changed."""
        if position is None:
            changed = bool(self.actor.GetVisibility())
            self.actor.VisibilityOff()
            return changed
        toXy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(sliceNode.GetXYToRAS()))
        x, y, _z = toXy[:3, :3] @ position + toXy[:3, 3]
        self._circle.SetCenter(x, y, 0)
        self._circle.SetRadius(radius * np.linalg.norm(toXy[:3, :3], axis=1)[0])
        self.actor.VisibilityOn()
        return True
