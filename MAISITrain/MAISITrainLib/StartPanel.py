"""The widgets of the section "Training"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import qt

from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISITrainLib.ComboBoxWidget import fillComboBox
from MAISITrainLib.StartPresenter import FormRow, StartPresenter, StartState
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings

LAUNCHER_NAMES = {"local": _("This computer"), "slurm": _("A job of SLURM")}


class StartPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(
        self,
        ui,
        logic: MAISITrainLogic,
        settings: TrainSettings,
        machine: Settings,
        wake: Callable[[], None],
        runStarted: Callable[[str], None],
    ) -> None:
        self.ui, self._wake, self.runStarted = ui, wake, runStarted
        self._rows: tuple[FormRow, ...] = ()
        self.presenter = StartPresenter(self, logic, settings, machine)
        ui.runPathLineEdit.currentPath = settings.text("Run")
        for box, act in (
            (ui.presetComboBox, self.presenter.choosePreset),
            (ui.sectionComboBox, self.presenter.chooseSection),
            (ui.launcherComboBox, self.presenter.setLauncher),
        ):
            box.connect("activated(int)", partial(self._onChosen, box, act))
        ui.formTable.connect("itemSelectionChanged()", self._onRow)
        self._slurm = {
            "partition": ui.partitionLineEdit,
            "account": ui.accountLineEdit,
            "time": ui.timeLineEdit,
            "more": ui.slurmOptionsLineEdit,
        }
        for name, widget in self._slurm.items():
            widget.connect("editingFinished()", partial(self._onSlurmText, name))
        ui.nodesSpinBox.connect("valueChanged(int)", lambda value: self.presenter.setSlurm(nodes=value))
        ui.gpusSpinBox.connect("valueChanged(int)", lambda value: self.presenter.setSlurm(gpus=value))
        ui.startButton.connect("clicked(bool)", self._onStart)

    def showStart(self, state: StartState) -> None:
        """See ``StartPresenter.View``."""
        ui = self.ui
        fillComboBox(ui.presetComboBox, [(name, name) for name in ("", *state.presets)], state.preset)
        ui.presetTitleLabel.text = state.title
        fillComboBox(ui.sectionComboBox, [(name, name) for name in state.sections], state.section)
        fillComboBox(ui.launcherComboBox, tuple(LAUNCHER_NAMES.items()), state.launcher)
        ui.slurmCollapsibleButton.visible = state.launcher == "slurm"
        for name, widget in self._slurm.items():
            if widget.text != getattr(state.slurm, name):
                widget.text = getattr(state.slurm, name)
        for widget, value in ((ui.nodesSpinBox, state.slurm.nodes), (ui.gpusSpinBox, state.slurm.gpus)):
            blocked = widget.blockSignals(True)  # the presenter knows it already
            widget.value = value
            widget.blockSignals(blocked)
        ui.startLabel.text = state.message
        ui.startButton.enabled = state.startEnabled
        self._wake()

    def showForm(self, rows: Sequence[FormRow]) -> None:
        """See ``StartPresenter.View``."""
        table, self._rows = self.ui.formTable, tuple(rows)
        table.setRowCount(0)  # the widgets of the old rows go
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            table.setItem(number, 0, qt.QTableWidgetItem(row.field.key.partition(".")[2]))
            table.setCellWidget(number, 1, self._editor(row))
        table.resizeColumnsToContents()
        self._onRow()

    def _editor(self, row: FormRow) -> qt.QWidget:
        """A widget to change one key with; texts are told when they are complete."""
        choices = row.field.choices or (("true", "false") if row.field.kind == "boolean" else ())
        if choices:
            box = qt.QComboBox()
            fillComboBox(box, [(choice, choice) for choice in choices], row.text)
            box.connect("activated(int)", partial(self._onChosen, box, partial(self.presenter.setText, row.field.key)))
            box.toolTip = row.field.help
            return box
        line = qt.QLineEdit()
        line.text = row.text
        line.toolTip = row.field.help
        line.connect("editingFinished()", lambda: self.presenter.setText(row.field.key, line.text))
        return line

    def _onChosen(self, box: qt.QComboBox, act: Callable[[str], None], index: int) -> None:
        act(box.itemData(index))

    def _onRow(self) -> None:
        row = self.ui.formTable.currentRow()
        self.ui.formHelpLabel.text = self._rows[row].field.help if 0 <= row < len(self._rows) else ""

    def _onSlurmText(self, name: str) -> None:
        self.presenter.setSlurm(**{name: self._slurm[name].text.strip()})

    def _onStart(self, _checked: bool) -> None:
        self.presenter.start(self.ui.runPathLineEdit.currentPath.strip(), self.ui.processesSpinBox.value)
