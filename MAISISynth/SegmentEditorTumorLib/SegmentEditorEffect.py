"""Segment Editor effect "Tumor": click to place, drag to move or stretch, wheel to grow. It only passes events on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.Sight import Sight, surfaceAt
from MAISISynthLib.TumorEdit import TumorEdit
from MAISISynthLib.TumorEffectRegistration import newTumorEffect
from MAISISynthLib.TumorPreview import HandleDots, TumorPreview
from MAISISynthLib.TumorTool import TumorTool
from SegmentEditorTumorLib.TumorShapePanel import TumorShapePanel

WHEEL_MM = 0.5
WHEEL_RESTS = 400  # ms after the last turn of the wheel: then all of them are written as one act
RADIUS = "Radius"  # parameter of the effect, mm: of new tumors


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Places and changes tumors whose shape is known by parameters."""

    filePath = Path(__file__).as_posix()

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Tumor"  # stored in scenes: never translated, never renamed
        scriptedEffect.title = _("Tumor")
        scriptedEffect.perSegment = False
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self._tool = None
        self._preview = TumorPreview()
        self._dots = HandleDots()
        self._view = None
        self._wheelTimer = qt.QTimer()
        self._wheelTimer.singleShot = True
        self._wheelTimer.interval = WHEEL_RESTS
        self._wheelTimer.connect("timeout()", self._release)

    def clone(self):
        return newTumorEffect()

    def icon(self):
        path = Path(__file__).with_suffix(".png")
        return qt.QIcon(str(path)) if path.exists() else qt.QIcon()

    def helpText(self):
        return _(
            "<html>Place and change tumors that stay inside their organ.<ul>"
            "<li><b>Click</b> in an organ: a new tumor. Keep the button down and drag to draw it to size."
            "<li><b>Drag</b> a tumor: move it. Where it leaves, the organ returns."
            "<li><b>Drag a yellow dot</b> of the selected tumor: make this axis longer or shorter."
            "<li><b>Shift + mouse wheel</b> over a tumor: grow or shrink it."
            "</ul>Works in slice and 3D views; obeys the masking options.</html>"
        )

    def setupOptionsFrame(self):
        self._panel = TumorShapePanel(self)

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault(RADIUS, 10.0)

    def updateGUIFromMRML(self):
        self._panel.show(self.scriptedEffect.doubleParameter(RADIUS), self.selectedLesion())

    def deactivate(self):
        self._wheelTimer.stop()
        self._letGo()

    def cleanup(self):
        self._wheelTimer.stop()
        self._wheelTimer.disconnect("timeout()", self._release)
        self._letGo()

    # ---- mouse

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        """True: the event was used and the view shall not react to it."""
        handlers = {
            vtk.vtkCommand.LeftButtonPressEvent: self._onPress,
            vtk.vtkCommand.MouseMoveEvent: self._onMove,
            vtk.vtkCommand.LeftButtonReleaseEvent: self._onRelease,
            vtk.vtkCommand.LeaveEvent: self._onLeave,
            vtk.vtkCommand.MouseWheelForwardEvent: lambda *view: self._onWheel(WHEEL_MM, *view),
            vtk.vtkCommand.MouseWheelBackwardEvent: lambda *view: self._onWheel(-WHEEL_MM, *view),
        }
        handler = handlers.get(eventId)
        return bool(handler and self._try(lambda: handler(callerInteractor, viewWidget)))

    def _onPress(self, interactor, viewWidget):
        if interactor.GetShiftKey() or interactor.GetControlKey():
            return False  # the view's own: pan, crosshair
        self._panel.say("")
        self._wheelTimer.stop()
        self._release()
        tool, sight, xy = self._newTool(), self._sight(viewWidget), interactor.GetEventPosition()
        onHandle = self.selectedLesion() is not None and tool.grabHandle(self._selectedId(), sight, xy)
        if not onHandle:
            renderer = self.scriptedEffect.renderer(viewWidget)
            position = sight.under(xy) if sight.isSlice else surfaceAt(renderer, xy)
            if position is None:
                return False
            tool.grab(position, None if sight.isSlice else sight.line(xy)[1])
        self._tool, self._view = tool, viewWidget
        self._draw()
        return True

    def _onMove(self, interactor, viewWidget):
        if self._tool is None:
            self._showHandles(viewWidget)
            return False
        if viewWidget != self._view or self._wheelTimer.active:
            return False
        self._tool.drag(self._sight(viewWidget), interactor.GetEventPosition())
        self._draw()
        return True

    def _onLeave(self, _interactor, viewWidget):
        if self._tool is None and self._dots.hide():
            self.scriptedEffect.renderWindow(viewWidget).Render()
        return False

    def _onRelease(self, _interactor, _viewWidget):
        if self._tool is None:
            return False
        self._release()
        return True

    def _onWheel(self, mm, interactor, viewWidget):
        if not interactor.GetShiftKey() or not self._isSlice(viewWidget):
            return False
        if self._tool is None:
            self._tool, self._view = self._newTool(), viewWidget
        self._tool.grow(self._sight(viewWidget).under(interactor.GetEventPosition()), mm)
        if self._tool.lesion is None:
            self._tool = None
            return False
        self._wheelTimer.start()
        self._draw()
        return True

    def _newTool(self):
        return TumorTool(self.tumors(), self.scriptedEffect.doubleParameter(RADIUS))

    def _sight(self, viewWidget):
        if self._isSlice(viewWidget):
            return Sight.ofSlice(self.scriptedEffect.viewNode(viewWidget))
        return Sight.ofCamera(self.scriptedEffect.renderer(viewWidget))

    @staticmethod
    def _isSlice(viewWidget):
        return viewWidget.className() == "qMRMLSliceWidget"

    def _draw(self):
        if self._tool is not None and self._tool.lesion is not None:
            sliceNode = self.scriptedEffect.viewNode(self._view) if self._isSlice(self._view) else None
            renderer = self.scriptedEffect.renderer(self._view)
            self._preview.show(self._tool.lesion, renderer, sliceNode)
            self._dots.show(self._tool.lesion, renderer, self._sight(self._view))
            self.scriptedEffect.renderWindow(self._view).Render()

    def _showHandles(self, viewWidget):
        """Those of the selected tumor, in the view that the mouse is in."""
        lesion = self.selectedLesion()
        if lesion is None:
            changed = self._dots.hide()
        else:
            changed = self._dots.show(lesion, self.scriptedEffect.renderer(viewWidget), self._sight(viewWidget))
        if changed:
            self.scriptedEffect.renderWindow(viewWidget).Render()

    def _release(self):
        """Write what is held."""
        tool = self._tool
        self._letGo()
        segmentId = self._try(tool.release) if tool is not None else None
        if segmentId:
            self.scriptedEffect.parameterSetNode().SetSelectedSegmentID(segmentId)
            self.updateGUIFromMRML()

    def _letGo(self):
        self._preview.hide()
        self._dots.hide()
        if self._view is not None:
            self.scriptedEffect.renderWindow(self._view).Render()
        self._tool = self._view = None

    # ---- for the panel

    def tumors(self):
        """The tumors of the edited segmentation, under the editor's masks and in its history."""
        editorNode = self.scriptedEffect.parameterSetNode()
        return TumorEdit(editorNode.GetSegmentationNode(), editorNode, self.scriptedEffect.saveStateForUndo)

    def selectedLesion(self):
        """The lesion of the selected segment, or None if that is no tumor."""
        editorNode = self.scriptedEffect.parameterSetNode()
        if editorNode is None or editorNode.GetSegmentationNode() is None:
            return None
        try:
            return self.tumors().lesion(self._selectedId())
        except InputError:
            return None

    def _selectedId(self):
        return self.scriptedEffect.parameterSetNode().GetSelectedSegmentID() or ""

    def setRadius(self, mm):
        """Of new tumors."""
        self.scriptedEffect.setParameter(RADIUS, mm)

    def change(self, act: Callable[[TumorEdit, str], str | None]) -> None:
        """Do something with the selected tumor; a new segment that it returns is selected."""
        self._panel.say("")
        editorNode = self.scriptedEffect.parameterSetNode()
        segmentId = self._try(lambda: act(self.tumors(), self._selectedId()))
        if isinstance(segmentId, str):
            editorNode.SetSelectedSegmentID(segmentId)
        self.updateGUIFromMRML()

    def _try(self, act):
        """The result of ``act``; what cannot be done is said in the panel, and nothing is held."""
        try:
            return act()
        except InputError as error:
            self._letGo()
            self._panel.say(str(error))
            return None
