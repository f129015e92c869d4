"""The module's panel: its sections, what they have in common, and the scene around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

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
from MAISISynthLib.SceneChoices import SceneChoices
from MAISISynthLib.SynthesisChoices import Choices, choicesOf
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPanel import SynthesisPanel
from MAISISynthLib.VaryLogic import VaryLogic
from MAISISynthLib.VaryPanel import VaryPanel


class MAISISynthPanel:
    """Controls the widgets of ``MAISISynth.ui``; ``enter`` it when the module is shown, ``exit`` when it is hidden."""

    def __init__(self, ui, logic: MAISISynthLogic, parametersOf: Callable[[slicer.vtkMRMLScene], Any]) -> None:
        """
        Args:
            ui: the named widgets, as ``slicer.util.childWidgetVariables`` gives them.
            parametersOf: gives the parameter node of a scene, see ``ParameterNode.synthesisParameters``.
        """
        self.ui = ui
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
        self._choices = SceneChoices(
            ui,
            parametersOf,
            changed=lambda parameters: self._choose(choicesOf(parameters)),
            closing=self._onSceneClosing,
            opened=self.history.presenter.update,
        )
        self._choose(Choices())

    # ---- what the module's widget calls

    def enter(self) -> None:
        """The module is shown."""
        self.editor.enter()  # first: nothing before it may keep it from being served
        self._choices.enter()
        self.history.presenter.update()
        self.environment.presenter.update()

    def exit(self) -> None:
        """The module is hidden; a run goes on, and so does the automatic update."""
        self._choices.exit()
        self.editor.exit()

    def cleanup(self) -> None:
        """Before the widget is destroyed: nothing may go on."""
        self._pump.stop()
        self._edits.watch(None)
        self.compare.cleanup()
        self._choices.cleanup()
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
        self._choices.parameters.before = volumeNode
        self.compare.showNew(before, volumeNode)
        self.history.presenter.update()

    def restore(self, choices: dict[str, Any]) -> None:
        """Choose these values of ``Choices``."""
        parameters = self._choices.parameters
        with slicer.util.NodeModify(parameters):  # told once
            for name, value in choices.items():
                setattr(parameters, name, value)

    def chooseModel(self, name: str) -> None:
        """The user chose a model."""
        self._choices.parameters.model = name

    def chooseDevice(self, name: str) -> None:
        """The user chose a device."""
        self.environment.presenter.setDevice(name)
        self.inputs.presenter.update()

    # ---- what has changed

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

    def _onSceneClosing(self) -> None:
        self._choose(Choices())
        self.compare.setPair(None, None)
