"""The widgets of the section "Batch"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from MAISILib.Settings import Settings
from MAISISynthLib.ProgressWidget import showProgress
from MAISISynthLib.SynthesisChoices import Choices
from MAISISynthLib.VaryChoices import VaryChoices
from MAISISynthLib.VaryLogic import VaryLogic
from MAISISynthLib.VaryPresenter import VaryPresenter, VaryState


class VaryPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(self, ui, logic: VaryLogic, settings: Settings, wake: Callable[[], None]) -> None:
        self.ui = ui
        self._wake = wake
        self._synthesis = Choices()
        self._inputs = (
            (ui.varyVolumeSelector, "currentNodeChanged(vtkMRMLNode*)"),
            (ui.varyOrgansLineEdit, "textChanged(QString)"),
            (ui.varySizesLineEdit, "textChanged(QString)"),
            (ui.varyFolderLineEdit, "currentPathChanged(QString)"),
            *((box, "valueChanged(int)") for box in (ui.varyCasesSpinBox, ui.varyShapesSpinBox)),
            *((box, "valueChanged(int)") for box in (ui.varyPlacesSpinBox, ui.varyProcessesSpinBox)),
        )
        self.presenter = VaryPresenter(self, logic, settings)
        for widget, signal in self._inputs:
            widget.connect(signal, self._onChosen)
        ui.varyPlanButton.connect("clicked(bool)", self._onPlan)
        ui.varyButton.connect("clicked(bool)", lambda _checked: self.presenter.press())
        self.presenter.update()

    def setSynthesis(self, choices: Choices) -> None:
        """Segmentation, seed, model, steps and solver are chosen in the other sections."""
        self._synthesis = choices
        self._onChosen()

    def showVary(self, state: VaryState) -> None:
        """See ``VaryPresenter.VaryView``."""
        ui = self.ui
        ui.varyStatusLabel.text = state.status
        ui.varyButton.text = state.buttonText
        ui.varyButton.enabled = state.buttonEnabled
        ui.varyPlanButton.enabled = state.planEnabled
        for widget, _signal in self._inputs:
            widget.enabled = state.inputsEnabled
        showProgress(ui.varyProgressBar, state.running, state.percent)
        self._wake()

    def _onChosen(self, _value: Any = None) -> None:
        ui = self.ui
        self.presenter.setChoices(
            VaryChoices(
                synthesis=self._synthesis,
                volume=ui.varyVolumeSelector.currentNode(),
                folder=ui.varyFolderLineEdit.currentPath,
                cases=ui.varyCasesSpinBox.value,
                organs=ui.varyOrgansLineEdit.text,
                sizes=ui.varySizesLineEdit.text,
                shapes=ui.varyShapesSpinBox.value,
                places=ui.varyPlacesSpinBox.value,
                processes=ui.varyProcessesSpinBox.value,
            )
        )

    def _onPlan(self, _checked: bool) -> None:
        with slicer.util.WaitCursor():
            self.presenter.preview()
