"""The widgets of the section "Runs"."""

from __future__ import annotations

from typing import Any, Protocol

import slicer

from MAISILib.Translate import _
from MAISISynthLib.HistoryPresenter import HistoryPresenter, HistoryState
from MAISISynthLib.TableWidget import fillTable


class Host(Protocol):
    """What the section needs of the panel around it."""

    def showResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """See ``HistoryPresenter.View``."""

    def restore(self, choices: dict[str, Any]) -> None:
        """See ``HistoryPresenter.View``."""


class HistoryPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(self, ui, host: Host) -> None:
        self.ui = ui
        self.showResult, self.restore = host.showResult, host.restore
        self.presenter = HistoryPresenter(self, slicer.mrmlScene)
        ui.showRunButton.connect("clicked(bool)", lambda _checked: self.presenter.jump(self._row()))
        ui.restoreRunButton.connect("clicked(bool)", lambda _checked: self.presenter.restore(self._row()))
        ui.deleteRunButton.connect("clicked(bool)", self._onDelete)

    def showHistory(self, state: HistoryState) -> None:
        """See ``HistoryPresenter.View``."""
        fillTable(self.ui.historyTable, state.rows)
        self.ui.historyLabel.text = state.message
        for button in (self.ui.showRunButton, self.ui.restoreRunButton, self.ui.deleteRunButton):
            button.enabled = bool(state.rows)

    def _row(self) -> int:
        return self.ui.historyTable.currentRow()

    def _onDelete(self, _checked: bool) -> None:
        row = self._row()
        if row >= 0 and slicer.util.confirmOkCancelDisplay(_("Remove this CT and its label map from the scene?")):
            self.presenter.delete(row)
