"""The widgets of the section "Synthesize"."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

import qt
import slicer

from MAISILib.ModelTable import ModelRow
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.InputPresenter import InputPresenter
from MAISISynthLib.ProgressWidget import showProgress
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPresenter import RunState, SynthesisPresenter


class Host(Protocol):
    """What the section needs of the panel around it."""

    def wake(self) -> None:
        """Something may have to be polled now."""

    def chooseModel(self, name: str) -> None:
        """The user chose a model."""

    def chooseDevice(self, name: str) -> None:
        """The user chose a device."""

    def showResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """See ``SynthesisPresenter.View``."""


class SynthesisPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(self, ui, inputs: InputPresenter, logic: MAISISynthLogic, settings: Settings, host: Host) -> None:
        self.ui, self._host = ui, host
        self.showResult = host.showResult
        self.presenter = SynthesisPresenter(self, inputs, logic, settings)
        ui.synthesizeButton.connect("clicked(bool)", lambda _checked: self.presenter.press())
        ui.rescueButton.connect("clicked(bool)", lambda _checked: self.presenter.rescue())
        ui.diceButton.connect("clicked(bool)", self._onDice)
        ui.copyLogButton.connect("clicked(bool)", self._onCopyLog)
        ui.modelComboBox.connect("activated(int)", self._onModel)
        ui.deviceComboBox.connect("activated(int)", self._onDevice)

    def showRun(self, state: RunState) -> None:
        """See ``SynthesisPresenter.View``."""
        ui = self.ui
        ui.outcomeLabel.text = state.outcome
        ui.synthesizeButton.text = state.buttonText
        ui.synthesizeButton.enabled = state.buttonEnabled
        ui.rescueButton.visible = state.rescueEnabled
        for widget in (ui.segmentationSelector, ui.beforeSelector, ui.advancedCollapsibleButton):
            widget.enabled = state.inputsEnabled
        showProgress(ui.progressBar, state.running, state.percent)
        ui.progressLabel.visible = state.running
        ui.progressLabel.text = state.progressText
        if ui.logText.plainText != state.log:
            ui.logText.plainText = state.log
        if state.logOpened:
            ui.logCollapsibleButton.collapsed = False
        self._host.wake()

    def showModels(self, models: Sequence[ModelRow], chosen: str) -> None:
        """Offer the models that can be used; the chosen one is shown even where it cannot."""
        usable = [model for model in models if model.installed and model.fromLabels]
        rows = {model.name: model.title for model in usable}
        rows.setdefault(chosen, _("{name} (not installed)").format(name=chosen))
        _fill(self.ui.modelComboBox, list(rows.items()), chosen)

    def showDevices(self, devices: Sequence[tuple[str, str]], chosen: str) -> None:
        """Offer these devices."""
        _fill(self.ui.deviceComboBox, devices, chosen)

    def _onDice(self, _checked: bool) -> None:
        self.ui.seedSpinBox.value = random.randint(0, self.ui.seedSpinBox.maximum)

    def _onCopyLog(self, _checked: bool) -> None:
        qt.QApplication.clipboard().setText(self.ui.logText.plainText)

    def _onModel(self, index: int) -> None:
        self._host.chooseModel(self.ui.modelComboBox.itemData(index))

    def _onDevice(self, index: int) -> None:
        self._host.chooseDevice(self.ui.deviceComboBox.itemData(index))


def _fill(box, rows: Sequence[tuple[str, str]], chosen: str) -> None:
    """Replace the entries of a combo box by (value, text) rows, and choose one of the values."""
    box.clear()
    for value, text in rows:
        box.addItem(text, value)
    box.currentIndex = [value for value, _text in rows].index(chosen)
