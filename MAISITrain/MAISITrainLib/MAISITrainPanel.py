"""The module's panel: its sections, what they have in common, and the scene around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from MAISILib.Settings import Settings
from MAISISynthLib.PollPump import PollPump
from MAISITrainLib.DataPanel import DataPanel
from MAISITrainLib.RunsPanel import RunsPanel
from MAISITrainLib.StartPanel import StartPanel
from MAISITrainLib.TrainChoices import TrainChoices, choicesOf
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings


class MAISITrainPanel(VTKObservationMixin):
    """Controls the widgets of ``MAISITrain.ui``; ``enter`` it when the module is shown, ``exit`` when it is hidden."""

    def __init__(self, ui, logic: MAISITrainLogic, parametersOf: Callable[[slicer.vtkMRMLScene], Any]) -> None:
        """
        Args:
            ui: the named widgets, as ``slicer.util.childWidgetVariables`` gives them.
            parametersOf: gives the parameter node of a scene, see ``ParameterNode.trainParameters``.
        """
        VTKObservationMixin.__init__(self)
        self.ui = ui
        self._parametersOf = parametersOf
        self._parameters: Any = None
        self._connection: int | None = None  # of the parameter node with the widgets, while the module is shown
        self._entered = False
        store = slicer.app.userSettings()
        self._settings, machine = TrainSettings(store), Settings(store)
        self._pump = PollPump()
        self.data = DataPanel(ui, logic, self._settings, machine, self._pump.wake)
        self.start = StartPanel(ui, logic, self._settings, machine, self._pump.wake, self._onStarted)
        self.runs = RunsPanel(ui, logic, self._settings, self._pump.wake, self._choose)
        self._pump.drive(self.data.presenter, self.start.presenter, self.runs.presenter)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneEnd)

    def enter(self) -> None:
        """The module is shown: trainings of earlier days are found again, and followed."""
        self._entered = True
        self._connect()
        for section in (self.data, self.start, self.runs):
            section.presenter.update()

    def exit(self) -> None:
        """The module is hidden; the curves go on."""
        self._entered = False
        self._disconnectGui()

    def cleanup(self) -> None:
        """Before the widget is destroyed. Trainings go on."""
        self._pump.stop()
        self._disconnect()
        self.removeObservers()
        for section in (self.data, self.start):
            section.presenter.close()

    def _choose(self, **values: Any) -> None:
        """Change fields of ``TrainChoices`` in the scene."""
        # As in MAISI Synth's panel: through the wrapper that is followed, whose cached values are then up to date.
        parameters = self._parameters or self._parametersOf(slicer.mrmlScene)
        for name, value in values.items():
            setattr(parameters, name, value)

    def _onStarted(self, path: str) -> None:
        self._choose(run=self._settings.addRun(path))
        self.runs.presenter.update()

    # ---- the parameter node

    def _connect(self) -> None:
        """Follow the scene's parameter node, and while the module is shown connect the widgets with it."""
        if self._parameters is None:
            self._parameters = self._parametersOf(slicer.mrmlScene)
            self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        if self._connection is None:
            self._connection = self._parameters.connectGui(self.ui)
        self._onParameters()

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
        self.runs.presenter.setChoices(choicesOf(self._parameters))

    # ---- the scene

    def _onSceneStartClose(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        self._disconnect()
        self.runs.presenter.setChoices(TrainChoices())

    def _onSceneEnd(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        if self._entered:
            self._disconnect()  # an import may have replaced the node
            self._connect()
            self.runs.presenter.redraw()
