"""The mouse in the views while the Tumor tool is on: it places, moves and stretches; Shift and the wheel grow.

Nothing is decided here: the effect asks for what is under the mouse, and draws what would come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer
import vtk
from trame_slicer.segmentation import SegmentationEffect, SegmentationEffectPipeline
from undo_stack import Signal

from maisi.masks.lesion import Lesion
from MAISISynthLib.Sight import Sight
from MAISISynthLib.TumorPreview import HandleDots, TumorPreview
from MAISISynthLib.TumorTool import TumorTool as MouseTool

RING_COLOR = (1.0, 0.85, 0.3)
WHEEL = {vtk.vtkCommand.MouseWheelForwardEvent: 1, vtk.vtkCommand.MouseWheelBackwardEvent: -1}


class TumorEffect(SegmentationEffect):
    """The tool as the segment editor knows it.

    Attributes:
        placing: whether the next click places a tumor. radius: mm of the ring that is shown while placing.
        grab: (sight, renderer, pixel) -> a tool that holds what is there, or None.
        selectedLesion: gives the lesion whose handles are shown, or None.
    """

    released = Signal(MouseTool)  # which may hold a change
    scrolled = Signal(int)  # 1 to grow, -1 to shrink

    def __init__(self) -> None:
        super().__init__()
        self.placing = False
        self.radius = 10.0
        self.grab: Callable[[Sight, vtk.vtkRenderer, Sequence[float]], MouseTool | None] = lambda *_place: None
        self.selectedLesion: Callable[[], Lesion | None] = lambda: None

    def hideHandles(self, besides: TumorPipeline | None = None) -> None:
        """In all views but that of ``besides``, where the mouse is."""
        for pipeline in filter(None, (weak() for weak in self.pipelines)):
            if pipeline is not besides:
                pipeline.hideHandles()

    def _create_pipeline(self, _viewNode: slicer.vtkMRMLAbstractViewNode, _parameter) -> TumorPipeline:
        return TumorPipeline()


class TumorPipeline(SegmentationEffectPipeline[TumorEffect]):
    """The mouse in one view."""

    def __init__(self) -> None:
        super().__init__()
        self._ring, self._preview, self._dots = Ring(), TumorPreview(), HandleDots()
        self._tool: MouseTool | None = None
        self._reactions = {
            int(vtk.vtkCommand.MouseMoveEvent): self._onMove,
            int(vtk.vtkCommand.LeftButtonPressEvent): self._onPress,
            int(vtk.vtkCommand.LeftButtonReleaseEvent): self._onRelease,
            **dict.fromkeys(map(int, WHEEL), self._onWheel),
        }

    def CanProcessInteractionEvent(self, event) -> tuple[bool, float]:
        """What is claimed here is lost to the view: a press on nothing is left to it, which may turn the camera."""
        kind = event.GetType()
        if not self.IsActive() or kind not in self._reactions:
            return False, 0.0
        if kind in WHEEL:
            return bool(event.GetModifiers() & vtk.vtkEvent.ShiftModifier), 0.0
        if kind == vtk.vtkCommand.LeftButtonPressEvent:
            self._tool = self._effect.grab(self._sight(), self.GetRenderer(), event.GetDisplayPosition())
            return self._tool is not None, 0.0
        return kind == vtk.vtkCommand.MouseMoveEvent or self._tool is not None, 0.0

    def ProcessInteractionEvent(self, event) -> bool:
        return self._reactions[event.GetType()](event)

    def GetWidgetState(self) -> int:
        return slicer.vtkMRMLAbstractWidget.WidgetStateUser if self._tool else super().GetWidgetState()

    def OnRendererAdded(self, renderer: vtk.vtkRenderer | None) -> None:
        if renderer is not None:
            renderer.AddViewProp(self._ring.actor)

    def OnRendererRemoved(self, renderer: vtk.vtkRenderer) -> None:
        self._letGo()
        renderer.RemoveViewProp(self._ring.actor)

    def LoseFocus(self, event) -> None:
        if event is None or self._tool is not None:  # else a view just does with the mouse what was left to it
            self._letGo()
            self.RequestRender()

    def hideHandles(self) -> None:
        if self._tool is None and self._dots.hide():
            self.RequestRender()

    def _letGo(self) -> None:
        self._tool = None
        self._preview.hide()
        self._dots.hide()
        self._ring.hide()

    def _sight(self) -> Sight:
        node = self.GetViewNode()
        return Sight.ofSlice(node) if self._sliceNode() else Sight.ofCamera(self.GetRenderer())

    def _sliceNode(self) -> slicer.vtkMRMLSliceNode | None:
        return self.GetViewNode() if isinstance(self.GetViewNode(), slicer.vtkMRMLSliceNode) else None

    def _onMove(self, event) -> bool:
        sight, xy = self._sight(), event.GetDisplayPosition()
        if self._tool is not None:
            self._tool.drag(sight, xy)
            self._draw(sight)
            return True
        self._effect.hideHandles(besides=self)
        lesion = self._effect.selectedLesion()
        changed = self._dots.show(lesion, self.GetRenderer(), sight) if lesion else self._dots.hide()
        if self._effect.placing and sight.isSlice:
            changed = self._ring.show(sight, xy, self._effect.radius)
        elif self._ring.hide():
            changed = True
        if changed:
            self.RequestRender()
        return self._effect.placing and sight.isSlice

    def _onPress(self, _event) -> bool:
        self._ring.hide()
        self._draw(self._sight())
        return True

    def _draw(self, sight: Sight) -> None:
        self._preview.show(self._tool.lesion, self.GetRenderer(), self._sliceNode())
        self._dots.show(self._tool.lesion, self.GetRenderer(), sight)
        self.RequestRender()

    def _onRelease(self, event) -> bool:
        tool = self._tool
        tool.drag(self._sight(), event.GetDisplayPosition())  # the browser may leave out the last moves
        self._letGo()
        self._effect.released(tool)
        self.RequestRender()
        return True

    def _onWheel(self, event) -> bool:
        self._effect.scrolled(WHEEL[event.GetType()])
        return True


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

    def show(self, sight: Sight, xy: Sequence[float], radius: float) -> bool:
        """Put it at a pixel with a radius in mm; True: it is to be drawn."""
        self._circle.SetCenter(*xy, 0)
        self._circle.SetRadius(radius * np.linalg.norm(sight.toPixels[0, :3]))
        self.actor.VisibilityOn()
        return True

    def hide(self) -> bool:
        """Whether anything changed."""
        changed = bool(self.actor.GetVisibility())
        self.actor.VisibilityOff()
        return changed
