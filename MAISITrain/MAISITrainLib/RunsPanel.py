"""The widgets of the section "Runs"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer

from MAISILib.Translate import _
from MAISISynthLib.TableWidget import fillTable
from MAISITrainLib.ComboBoxWidget import fillComboBox
from MAISITrainLib.RunsPresenter import RunsPresenter, RunsState
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings


class RunsPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(
        self,
        ui,
        logic: MAISITrainLogic,
        settings: TrainSettings,
        wake: Callable[[], None],
        choose: Callable[..., None],
    ) -> None:
        """``choose`` changes fields of ``TrainChoices`` in the scene."""
        self.ui, self._wake, self._choose = ui, wake, choose
        self.presenter = RunsPresenter(self, logic, settings, slicer.mrmlScene)
        ui.runsTable.connect("itemSelectionChanged()", lambda: self.presenter.select(ui.runsTable.currentRow()))
        ui.figureComboBox.connect("activated(int)", self._onFigure)
        for button, act in (
            (ui.stopButton, self.presenter.stop),
            (ui.resumeButton, self.presenter.resume),
            (ui.forgetButton, self.presenter.forget),
            (ui.openRunButton, self._onOpen),
            (ui.addRunButton, lambda: self.presenter.add(ui.addRunPathLineEdit.currentPath.strip())),
            (ui.useButton, lambda: self.presenter.use(ui.modelNameLineEdit.text)),
            (ui.plotButton, self._onPlot),
        ):
            button.connect("clicked(bool)", lambda _checked, act=act: act())

    def showRuns(self, state: RunsState) -> None:
        """See ``RunsPresenter.View``."""
        ui = self.ui
        blocked = ui.runsTable.blockSignals(True)  # the presenter knows what is selected
        fillTable(ui.runsTable, state.rows)
        if state.selected >= 0:
            ui.runsTable.selectRow(state.selected)
        ui.runsTable.blockSignals(blocked)
        ui.runLabel.text = state.line
        ui.runNotesLabel.text = "\n".join(filter(None, [state.notes, state.message]))
        fillComboBox(ui.figureComboBox, [(name, name) for name in state.figures], state.figure)
        if ui.runLogText.plainText != state.log:
            ui.runLogText.plainText = state.log
            ui.runLogText.moveCursor(qt.QTextCursor.End)
        ui.stopButton.enabled = state.stopEnabled
        ui.resumeButton.enabled = state.resumeEnabled
        ui.useButton.enabled = state.useEnabled
        for widget in (ui.forgetButton, ui.openRunButton, ui.plotButton):
            widget.enabled = state.selected >= 0
        self._wake()

    def follow(self, path: str) -> None:
        """See ``RunsPresenter.View``."""
        self._choose(run=path)

    def showPreviews(self, nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        """See ``RunsPresenter.View``."""
        slicer.util.setSliceViewerLayers(background=nodes[-1], fit=True)

    def openSynthesis(self) -> None:
        """See ``RunsPresenter.View``."""
        slicer.util.selectModule("MAISISynth")

    def confirm(self, question: str) -> bool:
        """See ``RunsPresenter.View``."""
        return slicer.util.confirmOkCancelDisplay(question, windowTitle=_("MAISI training"))

    def _onFigure(self, index: int) -> None:
        self._choose(figure=self.ui.figureComboBox.itemData(index))

    def _onPlot(self) -> None:
        slicer.modules.plots.logic().ShowChartInLayout(self.presenter.chart)

    def _onOpen(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self.presenter.path))
