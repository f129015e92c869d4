"""The module's panel: its sections, what they have in common, and the scene around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from MAISILib.Interpreter import Interpreter
from MAISILib.Settings import Settings
from MAISISynthLib.ComparePanel import ComparePanel
from MAISISynthLib.EditorPanel import EditorPanel
from MAISISynthLib.EditPump import EditPump
from MAISISynthLib.EnvironmentPanel import EnvironmentPanel
from MAISISynthLib.EnvironmentPresenter import EnvironmentState
from MAISISynthLib.HistoryPanel import HistoryPanel
from MAISISynthLib.InputPanel import InputPanel
from MAISISynthLib.PollPump import PollPump
from MAISISynthLib.SynthesisChoices import Choices, choicesOf
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPanel import SynthesisPanel
from MAISISynthLib.VaryLogic import VaryLogic
from MAISISynthLib.VaryPanel import VaryPanel


class MAISISynthPanel(VTKObservationMixin):
    """Controls the widgets of ``MAISISynth.ui``; ``enter`` it when the module is shown, ``exit`` when it is hidden."""

    def __init__(self, ui, logic: MAISISynthLogic, parametersOf: Callable[[slicer.vtkMRMLScene], Any]) -> None:
        """
        Args:
            ui: the named widgets, as ``slicer.util.childWidgetVariables`` gives them.
            parametersOf: gives the parameter node of a scene, see ``ParameterNode.synthesisParameters``.
        """
        VTKObservationMixin.__init__(self)
        self.ui = ui
        self._parametersOf = parametersOf
        self._parameters: Any = None
        self._connection: int | None = None  # of the parameter node with the widgets, while the module is shown
        self._entered = False
        self._environmentState: EnvironmentState | None = None
        settings = Settings(slicer.app.userSettings())
        self._pump = PollPump()
        self.editor = EditorPanel(ui)
        self.inputs = InputPanel(ui, logic, settings, self.wake)
        self.synthesis = SynthesisPanel(ui, self.inputs.presenter, logic, settings, self)
        self.compare = ComparePanel(ui)
        self.history = HistoryPanel(ui, self)
        self.vary = VaryPanel(ui, VaryLogic(Interpreter(settings)), settings, self.wake)
        self.environment = EnvironmentPanel(ui, logic.worker, settings, self._onEnvironment)
        self._edits = EditPump(self.synthesis.presenter.edited)
        sections = self.inputs, self.synthesis, self.vary, self.environment
        self._pump.drive(*(section.presenter for section in sections))
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneEnd)
        self._choose(Choices())

    # ---- what the module's widget calls

    def enter(self) -> None:
        """The module is shown."""
        self.editor.enter()  # first: nothing before it may keep it from being served
        self._entered = True
        self._connect()
        self.environment.presenter.update()

    def exit(self) -> None:
        """The module is hidden; a run goes on, and so does the automatic update."""
        self._entered = False
        self._disconnectGui()
        self.editor.exit()

    def cleanup(self) -> None:
        """Before the widget is destroyed: nothing may go on."""
        self._pump.stop()
        self._edits.watch(None)
        self.compare.cleanup()
        self._disconnect()
        self.removeObservers()
        self.environment.presenter.close()
        self.vary.presenter.close()
        self.synthesis.presenter.close()
        self.editor.cleanup()

    # ---- what the sections call

    def wake(self) -> None:
        """Something may have to be polled now."""
        self._pump.wake()

    def showResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """Show a CT, offer it as the one to change next, compare it with ``before``."""
        self._present().before = volumeNode
        self.compare.showNew(before, volumeNode)
        self.history.presenter.update()

    def restore(self, choices: dict[str, Any]) -> None:
        """Choose these values of ``Choices``."""
        parameters = self._present()
        with slicer.util.NodeModify(parameters):  # told once
            for name, value in choices.items():
                setattr(parameters, name, value)

    def chooseModel(self, name: str) -> None:
        """The user chose a model."""
        self._present().model = name

    def chooseDevice(self, name: str) -> None:
        """The user chose a device."""
        self.environment.presenter.setDevice(name)
        self.inputs.presenter.update()

    # ---- the parameter node

    def _present(self) -> Any:
        """The scene's choices, to change them.

        The wrapper that is followed: another one's change would reach its cached values only after our observer.
        """
        return self._parameters or self._parametersOf(slicer.mrmlScene)

    def _connect(self) -> None:
        """Follow the scene's parameter node, and while the module is shown connect the widgets with it."""
        if self._parameters is None:
            self._parameters = self._parametersOf(slicer.mrmlScene)
            self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        if self._connection is None:
            self._connection = self._parameters.connectGui(self.ui)
        self._onParameters()
        self.history.presenter.update()

    def _disconnect(self) -> None:
        self._disconnectGui()
        if self._parameters is not None:
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
            self._parameters = None

    def _disconnectGui(self) -> None:
        if self._connection is not None:
            self._parameters.disconnectGui(self._connection)
            self._connection = None

    def _onParameters(self, _caller: Any = None, _event: str = "") -> None:
        self._choose(choicesOf(self._parameters))

    def _choose(self, choices: Choices) -> None:
        self._edits.watch(choices.segmentation)
        self.editor.setNodes(choices.segmentation, choices.before)
        self.inputs.presenter.setChoices(choices)
        self.vary.setSynthesis(choices)
        self.synthesis.presenter.update()
        if self._environmentState is not None:
            self.synthesis.showModels(self._environmentState.models, choices.model)

    def _onEnvironment(self, state: EnvironmentState) -> None:
        before, self._environmentState = self._environmentState, state
        if before is not None and (before.python, before.remoteHost) != (state.python, state.remoteHost):
            self.inputs.presenter.estimateAgain()
        self.synthesis.showModels(state.models, self.inputs.presenter.choices.model)
        self.synthesis.showDevices(state.devices, state.device)
        self.wake()

    # ---- the scene

    def _onSceneStartClose(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        self._disconnect()
        self._choose(Choices())
        self.compare.setPair(None, None)

    def _onSceneEnd(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        if self._entered:
            self._disconnect()  # an import may have replaced the node
            self._connect()
