"""The widgets of the section "Data"."""

from __future__ import annotations

from collections.abc import Callable

from MAISILib.Settings import Settings
from MAISISynthLib.TableWidget import fillTable
from MAISITrainLib.ComboBoxWidget import fillComboBox
from MAISITrainLib.DataPresenter import DataPresenter, DataState
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings


class DataPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(
        self, ui, logic: MAISITrainLogic, settings: TrainSettings, machine: Settings, wake: Callable[[], None]
    ) -> None:
        self.ui, self._wake = ui, wake
        self._rows: tuple[tuple[str, ...], ...] = ()
        self.presenter = DataPresenter(self, logic, settings, machine)
        setText = self.presenter.setText
        ui.datasetPathLineEdit.connect("currentPathChanged(QString)", lambda path: setText("Dataset", path))
        ui.preparedPathLineEdit.connect("currentPathChanged(QString)", lambda path: setText("Prepared", path))
        ui.prepareOptionsLineEdit.connect(
            "editingFinished()", lambda: setText("PrepareOptions", ui.prepareOptionsLineEdit.text)
        )
        ui.encoderComboBox.connect(
            "activated(int)", lambda index: setText("Encoder", ui.encoderComboBox.itemData(index))
        )
        ui.dataTable.connect("itemSelectionChanged()", self._onRow)
        for button, act in (
            (ui.checkDataButton, self.presenter.check),
            (ui.prepareButton, self.presenter.prepare),
            (ui.cancelDataButton, self.presenter.cancel),
        ):
            button.connect("clicked(bool)", lambda _checked, act=act: act())

    def showData(self, state: DataState) -> None:
        """See ``DataPresenter.View``."""
        ui = self.ui
        for widget, path in ((ui.datasetPathLineEdit, state.dataset), (ui.preparedPathLineEdit, state.prepared)):
            if widget.currentPath != path:
                widget.currentPath = path
        if ui.prepareOptionsLineEdit.text != state.options:
            ui.prepareOptionsLineEdit.text = state.options
        fillComboBox(ui.encoderComboBox, state.encoders, state.encoder)
        self._rows = state.rows
        fillTable(ui.dataTable, state.rows)
        self._onRow()
        ui.dataLabel.text = state.message
        for widget in (ui.checkDataButton, ui.prepareButton, ui.datasetPathLineEdit, ui.preparedPathLineEdit):
            widget.enabled = not state.busy
        ui.cancelDataButton.enabled = state.busy
        self._wake()

    def _onRow(self) -> None:
        """The selected finding, which the table may cut off."""
        row = self.ui.dataTable.currentRow()
        self.ui.dataDetailLabel.text = ": ".join(self._rows[row][::3]) if 0 <= row < len(self._rows) else ""
