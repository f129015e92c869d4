"""What the section "Runs" shows and allows, decided without Qt: trainings, their curves and previews, what becomes of
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import slicer

from maisi.errors import InputError
from maisi.train.run_folder import RunFolder, find_runs
from MAISILib.MaisiCommand import MaisiCommand
from MAISILib.Translate import _
from MAISITrainLib.CommandRunner import CommandRunner
from MAISITrainLib.LossCurves import LOSS, figureNames
from MAISITrainLib.LossPlots import LossPlots
from MAISITrainLib.PreviewVolumes import PreviewVolumes
from MAISITrainLib.RunDescription import runLine, runNotes, runRow
from MAISITrainLib.RunWatcher import LOOK_SECONDS, RunWatcher
from MAISITrainLib.TrainChoices import TrainChoices
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings

OTHERS_SECONDS = 10.0  # between two looks at a training that is not followed
CAN_GO_ON = ("stopped", "failed", "lost")


@dataclass(frozen=True)
class RunsState:
    """Everything that the section shows.

    Attributes:
        rows: see ``RunDescription.runRow``. selected: the row that is followed, -1 for none.
        line: step, time left, memory of that training. notes: what went wrong with it. log: its last lines.
        figures: what can be plotted. figure: what is.
        message: how the last command ended. busy: whether one runs.
        stopEnabled, resumeEnabled, useEnabled: what can be done with the training.
    """

    rows: tuple[tuple[str, ...], ...] = ()
    selected: int = -1
    line: str = ""
    notes: str = ""
    log: str = ""
    figures: tuple[str, ...] = ()
    figure: str = LOSS
    message: str = ""
    busy: bool = False
    stopEnabled: bool = False
    resumeEnabled: bool = False
    useEnabled: bool = False


class View(Protocol):
    """What the presenter needs of a panel."""

    def showRuns(self, state: RunsState) -> None:
        """Show this state."""

    def follow(self, path: str) -> None:
        """Make this training the chosen one of the scene."""

    def showPreviews(self, nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        """Previews have come into the scene: show them in the slice views."""

    def openSynthesis(self) -> None:
        """A model was chosen in MAISI Synth: go there."""

    def confirm(self, question: str) -> bool:
        """Whether the user agrees."""


class RunsPresenter:
    """Trainings are found again from the settings, whoever started them; nothing here ends with the application."""

    def __init__(
        self,
        view: View,
        logic: MAISITrainLogic,
        settings: TrainSettings,
        scene: slicer.vtkMRMLScene,
        watch: Callable[[str], RunWatcher] = RunWatcher,
    ) -> None:
        self._view, self._logic, self._settings, self._watch = view, logic, settings, watch
        self._plots, self._previews = LossPlots(scene), PreviewVolumes(scene)
        self._runner = CommandRunner()
        self._choices = TrainChoices()
        self._watchers: list[RunWatcher] = []
        self._message = ""

    @property
    def busy(self) -> bool:
        """Whether ``poll`` must be called regularly."""
        return self._runner.busy or bool(self._watchers)

    @property
    def chart(self) -> slicer.vtkMRMLPlotChartNode:
        """The chart with the curves."""
        return self._plots.chart

    @property
    def path(self) -> str:
        """The folder of the training that is followed, or ""."""
        watcher = self._followed()
        return str(watcher.path) if watcher else ""

    # ---- what is shown

    def setChoices(self, choices: TrainChoices) -> None:
        """The scene's choices have changed."""
        if choices == self._choices:
            return
        before, self._choices = self._choices, choices
        if before.previews and not choices.previews:
            self._previews.clear()
        self._draw()
        self.update()

    def update(self) -> None:
        """Take in which trainings the settings name, and show the present state."""
        known = {str(watcher.path): watcher for watcher in self._watchers}
        self._watchers = [known.get(path) or self._watch(path) for path in self._settings.runs]
        chosen = self._followed()
        for watcher in self._watchers:
            watcher.lookSeconds = LOOK_SECONDS if watcher is chosen else OTHERS_SECONDS
        self._view.showRuns(self._state(chosen))

    def redraw(self) -> None:
        """Curves and previews are gone with the scene, or belong to another one: draw them again."""
        self._draw()
        self.update()

    def poll(self) -> None:
        """Call about ten times a second while ``busy``."""
        changed = self._runner.poll()
        chosen = self._followed()
        for watcher in self._watchers:
            if watcher.poll():
                changed = True
                if watcher is chosen:
                    self._draw()
        if changed:
            self.update()

    # ---- what the user does

    def select(self, row: int) -> None:
        """Follow the training of a row."""
        if 0 <= row < len(self._watchers):
            path = str(self._watchers[row].path)
            self._watchers[row].hurry()
            if path != self._choices.run:
                self._message = ""
                self._view.follow(path)

    def add(self, path: str) -> None:
        """Watch the training in this folder, or all of those in its subfolders."""
        folder = RunFolder(path)
        found = [folder] if folder.exists else find_runs(Path(path)) if path else []
        if not found:
            self._say(_("There is no training in that folder."))
            return
        added = [self._settings.addRun(run.path) for run in reversed(found)]
        self._say("")
        self._view.follow(added[-1])

    def forget(self) -> None:
        """Do not watch the chosen training any more; its folder stays as it is."""
        if watcher := self._followed():
            self._settings.forgetRun(str(watcher.path))
            self._say(_("'{name}' is no longer watched; it goes on.").format(name=watcher.folder.name))

    def stop(self) -> None:
        """Ask the chosen training to write a checkpoint and stop; if it was asked already, offer to end it."""
        watcher = self._followed()
        if watcher is None or watcher.view is None or watcher.view.status.state != "stopping":
            self._do(self._logic.stopCommand)
            return
        question = _("'{name}' was asked to stop and has not yet. End it without another checkpoint?")
        if self._view.confirm(question.format(name=watcher.folder.name)):
            self._do(lambda path: self._logic.stopCommand(path, now=True))

    def resume(self) -> None:
        """Go on with the chosen training, launched as it was before."""
        self._do(self._logic.resumeCommand)

    def use(self, name: str) -> None:
        """Make a model of the chosen training, and choose it in MAISI Synth."""
        if not name.strip():
            self._say(_("Give the model a name."))
            return
        self._do(lambda path: self._logic.exportCommand([path], name.strip()), lambda: self._onModel(name.strip()))

    def close(self) -> None:
        """The panel goes away; trainings go on, and so does a command that starts or stops one."""

    # ---- inside

    def _followed(self) -> RunWatcher | None:
        """The chosen training; in a scene where none is chosen, the newest one."""
        chosen = (watcher for watcher in self._watchers if str(watcher.path) == self._choices.run)
        return next(chosen, self._watchers[0] if self._watchers else None)

    def _draw(self) -> None:
        watcher = self._followed()
        if watcher is None or watcher.view is None:
            return
        name, view, choices = watcher.folder.name, watcher.view, self._choices
        self._plots.show(name, view.rows, choices.figure, choices.smoothing, choices.logScale)
        if choices.previews:
            before = set(self._previews.nodes())
            nodes = self._previews.show(name, view.previews)
            if set(nodes) - before:
                self._view.showPreviews(nodes)

    def _do(self, command: Callable[[str], MaisiCommand], then: Callable[[], None] | None = None) -> None:
        watcher = self._followed()
        if watcher is None or self._runner.busy:
            return

        def ended(command: MaisiCommand) -> None:
            watcher.hurry()
            self._message = command.error or command.line
            if then is not None and not command.error:
                then()

        self._runner.run(command(str(watcher.path)), ended)
        self._say("")

    def _onModel(self, name: str) -> None:
        try:
            self._logic.useInSynthesis(name)
        except InputError as error:
            self._message = str(error)
            return
        self._view.openSynthesis()

    def _say(self, message: str) -> None:
        self._message = message
        self.update()

    def _state(self, chosen: RunWatcher | None) -> RunsState:
        rows = tuple(map(runRow, self._watchers))
        message = self._runner.line or self._message
        if chosen is None or chosen.view is None or not chosen.view.exists:
            selected = self._watchers.index(chosen) if chosen else -1
            return RunsState(rows, selected, message=message, busy=self._runner.busy)
        view, idle = chosen.view, not self._runner.busy
        return RunsState(
            rows=rows,
            selected=self._watchers.index(chosen),
            line=runLine(view),
            notes=runNotes(view),
            log=view.log,
            figures=tuple(figureNames(view.rows)) or (LOSS,),
            figure=self._choices.figure,
            message=message,
            busy=self._runner.busy,
            stopEnabled=idle and not view.status.has_ended,
            resumeEnabled=idle and view.status.state in CAN_GO_ON,
            useEnabled=idle,
        )
