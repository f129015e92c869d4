"""The module's panel: its sections, what they have in common, and the scene around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from MAISILib.Settings import Settings
from MAISISynthLib.PollPump import PollPump
from MAISISynthLib.SceneChoices import SceneChoices
from MAISITrainLib.DataPanel import DataPanel
from MAISITrainLib.RunsPanel import RunsPanel
from MAISITrainLib.StartPanel import StartPanel
from MAISITrainLib.TrainChoices import TrainChoices, choicesOf
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings


class MAISITrainPanel:
    """Controls the widgets of ``MAISITrain.ui``; ``enter`` it when the module is shown, ``exit`` when it is hidden."""

    def __init__(self, ui, logic: MAISITrainLogic, parametersOf: Callable[[slicer.vtkMRMLScene], Any]) -> None:
        """
        Args:
            ui: the named widgets, as ``slicer.util.childWidgetVariables`` gives them.
            parametersOf: gives the parameter node of a scene, see ``ParameterNode.trainParameters``.
        """
        self.ui = ui
        store = slicer.app.userSettings()
        self._settings, machine = TrainSettings(store), Settings(store)
        self._pump = PollPump()
        self.data = DataPanel(ui, logic, self._settings, machine, self._pump.wake)
        self.start = StartPanel(ui, logic, self._settings, machine, self._pump.wake, self._onStarted)
        self.runs = RunsPanel(ui, logic, self._settings, self._pump.wake, self._choose)
        self._pump.drive(self.data.presenter, self.start.presenter, self.runs.presenter)
        setChoices = self.runs.presenter.setChoices
        self._choices = SceneChoices(
            ui,
            parametersOf,
            changed=lambda parameters: setChoices(choicesOf(parameters)),
            closing=lambda: setChoices(TrainChoices()),
            opened=self.runs.presenter.redraw,
        )

    def enter(self) -> None:
        """The module is shown: trainings of earlier days are found again, and followed."""
        self._choices.enter()
        for section in (self.data, self.start, self.runs):
            section.presenter.update()

    def exit(self) -> None:
        """The module is hidden; the curves go on."""
        self._choices.exit()

    def cleanup(self) -> None:
        """Before the widget is destroyed. Trainings go on."""
        self._pump.stop()
        self._choices.cleanup()
        for section in (self.data, self.start):
            section.presenter.close()

    def _choose(self, **values: Any) -> None:
        """Change fields of ``TrainChoices`` in the scene."""
        for name, value in values.items():
            setattr(self._choices.parameters, name, value)

    def _onStarted(self, path: str) -> None:
        self._choose(run=self._settings.addRun(path))
        self.runs.presenter.update()
