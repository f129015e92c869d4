"""Just enough of a Segment Editor and its views to run a scripted effect; real MRML, nothing is drawn.

Like PythonQt, a widget refuses properties and signals that its class does not have. This is no test of real widgets.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import numpy as np
import slicer
import vtk

SIGNALS = {"ctkSliderWidget": "valueChanged(double)", "QPushButton": "clicked(bool)", "QTimer": "timeout()"}
PROPERTIES = {
    "ctkSliderWidget": "minimum maximum singleStep decimals suffix tracking value enabled",
    "QPushButton": "text toolTip enabled",
    "QLabel": "text wordWrap",
    "QTimer": "singleShot interval active",
}


class StubWidget:
    """A Qt object of class ``kind``; what it refuses, PythonQt refuses too."""

    def __init__(self, kind: str, **values) -> None:
        vars(self).update(kind=kind, slots=[], blocked=False, **values)

    def __setattr__(self, name: str, value) -> None:
        assert name in PROPERTIES[self.kind].split(), f"{self.kind} has no property {name}"
        if name == "value":
            value = round(value, self.decimals)  # as the real one does
        changed = vars(self).get(name) != value
        vars(self)[name] = value
        if name == "value" and changed:
            self.emit(value)

    def blockSignals(self, block: bool) -> bool:
        before = self.blocked
        vars(self)["blocked"] = block
        return before

    def connect(self, signal: str, slot) -> None:
        assert signal == SIGNALS[self.kind], f"{self.kind} has no signal {signal}"
        self.slots.append(slot)

    def disconnect(self, signal: str, slot) -> None:
        assert signal == SIGNALS[self.kind]
        self.slots.remove(slot)

    def emit(self, *arguments) -> None:
        for slot in () if self.blocked else tuple(self.slots):
            slot(*arguments)

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False


def stubModules() -> dict[str, ModuleType]:
    """Modules that only the application has, by name."""
    qt, ctk, effects = ModuleType("qt"), ModuleType("ctk"), ModuleType("SegmentEditorEffects")
    qt.QTimer = lambda: StubWidget("QTimer", active=False)
    qt.QLabel = lambda: StubWidget("QLabel", text="")
    qt.QPushButton = lambda text: StubWidget("QPushButton", text=text)
    qt.QIcon = lambda path=None: path
    ctk.ctkSliderWidget = lambda: StubWidget("ctkSliderWidget", value=0.0, decimals=2)

    class AbstractScriptedSegmentEditorEffect:
        def __init__(self, scriptedEffect) -> None:
            self.scriptedEffect = scriptedEffect

    effects.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect
    return {"qt": qt, "ctk": ctk, "SegmentEditorEffects": effects}


class StubEffectHost:
    """Stands for ``qSlicerSegmentEditorScriptedEffect`` and the editor around it; undo is the editor's own."""

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        scene = segmentationNode.GetScene()
        self.editorNode = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.SetSegmentEditorNode(self.editorNode)
        self.logic.SetSegmentationNode(segmentationNode)
        self.parameters: dict[str, float] = {}
        self.options: dict[str, StubWidget] = {}
        self.saved = 0

    def parameterSetNode(self) -> slicer.vtkMRMLSegmentEditorNode:
        return self.editorNode

    def saveStateForUndo(self) -> None:
        self.saved += 1
        self.logic.SaveStateForUndo()

    def addLabeledOptionsWidget(self, label: str, widget: StubWidget) -> None:
        self.options[label] = widget

    def addOptionsWidget(self, widget: StubWidget) -> None:
        self.options[widget.text or "message"] = widget

    def setParameterDefault(self, name: str, value: float) -> None:
        self.parameters.setdefault(name, value)

    def setParameter(self, name: str, value: float) -> None:
        self.parameters[name] = value

    def doubleParameter(self, name: str) -> float:
        return float(self.parameters[name])

    def renderer(self, view: StubView) -> vtk.vtkRenderer:
        return view.vtkRenderer

    def renderWindow(self, _view: StubView) -> SimpleNamespace:
        return SimpleNamespace(Render=lambda: None)

    def viewNode(self, view: StubView) -> slicer.vtkMRMLSliceNode:
        return view.sliceNode


class StubView:
    """An axial slice view of 100 x 100 pixels of 1 mm, whose lower left pixel is at ``corner`` (RAS mm)."""

    def __init__(self, corner: tuple[float, float, float]) -> None:
        self.vtkRenderer = vtk.vtkRenderer()
        self.sliceNode = slicer.vtkMRMLSliceNode()
        matrix = np.eye(4)
        matrix[:3, 3] = corner
        self.sliceNode.GetXYToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))

    def className(self) -> str:
        return "qMRMLSliceWidget"

    @property
    def drawn(self) -> int:
        """How many actors are drawn in it."""
        return self.vtkRenderer.GetViewProps().GetNumberOfItems()


class StubView3D:
    """A 3D view of 200 x 200 pixels, from the front, of a box of 60 mm; drawn without a window."""

    def __init__(self) -> None:
        self.vtkRenderer, self.window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self.window.OffScreenRenderingOn()
        self.window.SetSize(200, 200)
        self.window.AddRenderer(self.vtkRenderer)
        camera = self.vtkRenderer.GetActiveCamera()
        camera.SetPosition(30, 330, 20)
        camera.SetFocalPoint(30, 30, 20)
        camera.SetViewUp(0, 0, 1)
        self.vtkRenderer.ResetCameraClippingRange(0, 60, 0, 60, 0, 40)

    def className(self) -> str:
        return "qMRMLThreeDWidget"


def mouse(xy: tuple[float, float], shift: bool = False) -> SimpleNamespace:
    """An interactor with the mouse at a pixel."""
    return SimpleNamespace(GetEventPosition=lambda: xy, GetShiftKey=lambda: shift, GetControlKey=lambda: False)
