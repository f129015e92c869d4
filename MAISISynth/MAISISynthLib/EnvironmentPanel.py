"""The widgets of the section "Models and environment"."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from MAISILib.ModelTable import ModelRow
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISILib.Worker import Worker
from MAISISynthLib.EnvironmentPresenter import EnvironmentPresenter, EnvironmentState
from MAISISynthLib.TableWidget import fillTable


class EnvironmentPanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(self, ui, worker: Worker, settings: Settings, changed: Callable[[EnvironmentState], None]) -> None:
        """``changed`` is called with every state, which also tells what the rest of the panel can offer."""
        self.ui = ui
        self._changed = changed
        self._models: tuple[ModelRow, ...] = ()
        self._folder = ""
        self._busy = False
        self.presenter = EnvironmentPresenter(self, worker, settings)
        ui.pythonPathLineEdit.connect("currentPathChanged(QString)", self.presenter.setPython)
        ui.remoteHostLineEdit.connect(
            "editingFinished()", lambda: self.presenter.setRemoteHost(ui.remoteHostLineEdit.text)
        )
        ui.modelsTable.connect("itemSelectionChanged()", self._onSelected)
        for button, act in (
            (ui.checkButton, self.presenter.check),
            (ui.installButton, self.presenter.install),
            (ui.cancelTaskButton, self.presenter.cancel),
            (ui.ownPythonButton, lambda: self.presenter.setPython("")),
            (ui.openFolderButton, self._onOpenFolder),
            (ui.downloadButton, lambda: self.presenter.download(self._selected().name)),
            (ui.removeButton, lambda: self.presenter.remove(self._selected().name)),
        ):
            button.connect("clicked(bool)", lambda _checked, act=act: act())

    def showEnvironment(self, state: EnvironmentState) -> None:
        """See ``EnvironmentPresenter.View``."""
        ui = self.ui
        self._models, self._busy = state.models, state.busy
        fillTable(ui.modelsTable, [(m.title, m.image, m.state, m.license) for m in state.models])
        self._folder = state.folder
        ui.folderLabel.text = ": ".join(filter(None, [state.remoteHost, state.folder]))
        ui.openFolderButton.enabled = not state.remoteHost
        ui.environmentLabel.text = state.message
        if ui.pythonPathLineEdit.currentPath != state.python:
            ui.pythonPathLineEdit.currentPath = state.python
        if ui.remoteHostLineEdit.text != state.remoteHost:
            ui.remoteHostLineEdit.text = state.remoteHost
        for widget in (ui.checkButton, ui.installButton, ui.pythonPathLineEdit, ui.remoteHostLineEdit):
            widget.enabled = not state.busy
        ui.cancelTaskButton.enabled = state.busy
        self._onSelected()
        self._changed(state)

    def confirm(self, question: str) -> bool:
        """See ``EnvironmentPresenter.View``."""
        return slicer.util.confirmOkCancelDisplay(question, windowTitle=_("MAISI models"))

    def _selected(self) -> ModelRow | None:
        row = self.ui.modelsTable.currentRow()
        return self._models[row] if 0 <= row < len(self._models) else None

    def _onSelected(self) -> None:
        model = self._selected()
        fetched = model is not None and model.downloadable and not self._busy
        self.ui.downloadButton.enabled = fetched and not model.installed
        self.ui.removeButton.enabled = fetched and model.installed

    def _onOpenFolder(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self._folder))
