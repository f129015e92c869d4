"""What the section "Synthesize" shows and allows, decided without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import slicer

from maisi.protocol import Progress
from MAISILib import Dependencies
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.Draft import Draft
from MAISISynthLib.InputPresenter import InputPresenter
from MAISISynthLib.JobPresenter import JobPresenter
from MAISISynthLib.SceneIO import BEFORE_REFERENCE
from MAISISynthLib.SynthesisJob import SynthesisJob
from MAISISynthLib.SynthesisLogic import MAISISynthLogic

STAGES = {"load": _("Loading the model"), "sample": _("Sampling"), "decode": _("Decoding"), "check": _("Checking")}


@dataclass(frozen=True)
class RunState:
    """Everything that the section shows.

    Attributes:
        outcome: how the last run ended.
        buttonText, buttonEnabled: the one button that starts and cancels. inputsEnabled: whether choices can be made.
        running: whether a progress bar is shown. percent: of it, 0-100; None for "busy". progressText: beside it.
        log: lines of the worker. logOpened: whether they should be seen now.
        rescueEnabled: whether a CT waits to be added to the scene (see ``rescue``).
    """

    outcome: str
    buttonText: str
    buttonEnabled: bool
    inputsEnabled: bool = True
    running: bool = False
    percent: int | None = 0
    progressText: str = ""
    log: str = ""
    logOpened: bool = False
    rescueEnabled: bool = False


class View(Protocol):
    """What the presenter needs of a panel."""

    def showRun(self, state: RunState) -> None:
        """Show this state."""

    def showResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """Show a new CT in the slice views, compare it with ``before``, and offer it as the one to edit next."""


class SynthesisPresenter(JobPresenter):
    """Between the panel and the logic. The panel tells what the user did; the presenter tells what to show."""

    def __init__(
        self,
        view: View,
        inputs: InputPresenter,
        logic: MAISISynthLogic,
        settings: Settings,
        ensurePackages: Callable[[], None] = Dependencies.ensure,
    ) -> None:
        super().__init__(ensurePackages)
        self._view, self._inputs, self._logic, self._settings = view, inputs, logic, settings
        self._automatic = False  # whether an edit, not the user, started the job
        self._draft: Draft | None = None  # what the last job made, if it was automatic
        self._rescued: SynthesisJob | None = None  # its CT lost its scene
        self._pressed = False  # the user has started a run in this session
        self._again = False  # the segmentation was edited during an automatic run
        self._outcome = self._log = ""
        self._logOpened = False

    def press(self) -> None:
        """The user pressed the button: start, or cancel what runs."""
        self._pressed = True
        self._again = False
        super().press()

    def edited(self) -> None:
        """The user edited the segmentation and paused: synthesize the change, if that is wished.

        Never before the button was pressed once, so that a scene that was loaded starts nothing by itself.
        """
        self._inputs.update()
        choices = self._inputs.choices
        if self._pressed and choices.autoUpdate and choices.before is not None:
            if self._job is not None:
                self._again = True
            elif self._inputs.check.isValid()[0]:
                self._start(automatic=True)
        self.update()

    def rescue(self) -> None:
        """Add the CT whose scene was closed during the run to the scene that is there now."""
        job, self._rescued = self._rescued, None
        self._take(job.addToScene())
        self.update()

    def close(self) -> None:
        """The panel goes away: nothing may go on."""
        self._logic.worker.close()
        if self._job is not None:
            self._job.poll()  # it is cancelled now; this removes its files
            self._job = None

    def _start(self, automatic: bool = False) -> None:
        self._automatic = automatic
        self._log, self._logOpened, self._again, self._rescued = "", False, False, None
        choices = self._inputs.choices
        hasDraft = automatic and self._draft is not None and choices.before is self._draft.volumeNode
        self._outcome = self._begin(
            lambda: self._logic.startSynthesis(
                choices.segmentation,
                device=self._settings.device,
                draft=self._draft if hasDraft else None,
                **choices.options(),
            ),
            self._settings.usesOwnPython,
        )
        if self._job is not None:
            self._inputs.stopEstimate()

    def _finish(self, job: SynthesisJob) -> None:
        self._log = "\n".join(job.log)
        if job.state == "done":
            self._take(job.volumeNode)
            self._draft = Draft(job.volumeNode) if self._automatic else None
            self._outcome = "\n".join([self._outcome, *job.notices])
        elif job.state == "cancelled":
            self._outcome = _("Cancelled; the scene is as it was.")
        else:
            self._outcome, _newline, details = job.error.partition("\n")
            self._log = "\n".join(filter(None, [self._log, details]))
            self._logOpened = bool(self._log)
            self._rescued = job if job.image is not None else None
        self._inputs.estimateAgain()
        if self._again:
            outcome = self._outcome
            self.edited()
            if self._job is None:  # the run had taken in all edits
                self._outcome = outcome

    def _take(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """A new CT is in the scene."""
        self._outcome = _("'{name}' is ready.").format(name=volumeNode.GetName())
        self._view.showResult(volumeNode, volumeNode.GetNodeReference(BEFORE_REFERENCE))

    def _show(self, state: RunState) -> None:
        self._view.showRun(state)

    def _idleState(self) -> RunState:
        return RunState(
            outcome=self._outcome,
            buttonText=_("Synthesize the change") if self._inputs.choices.before else _("Synthesize"),
            buttonEnabled=self._inputs.check.isValid()[0],
            log=self._log,
            logOpened=self._logOpened,
            rescueEnabled=self._rescued is not None,
        )

    def _runningState(self) -> RunState:
        percent, text = describeProgress(self._job.progress)
        if self._job.state == "queued":
            text = _("Waiting for what was asked before")
        return RunState(
            outcome=_("Synthesizing; the segmentation may be edited meanwhile."),
            buttonText=_("Cancel"),
            buttonEnabled=True,
            inputsEnabled=False,
            running=True,
            percent=percent,
            progressText=text,
            log="\n".join(self._job.log),
        )


def describeProgress(progress: Progress | None) -> tuple[int | None, str]:
    """Percent (None: unknown) and text, for example 40 and "Sampling 12/30, 41 s left, 3.2 GB"."""
    if progress is None:
        return None, _("Starting")
    text = STAGES.get(progress.stage, progress.stage)
    if progress.total <= 1:
        return None, text
    text = _("{stage} {step}/{total}").format(stage=text, step=progress.step, total=progress.total)
    if progress.seconds_left is not None:
        text = _("{text}, {seconds:.0f} s left").format(text=text, seconds=progress.seconds_left)
    if progress.memory_gb is not None:
        text = _("{text}, {memory:.1f} GB").format(text=text, memory=progress.memory_gb)
    return round(100 * progress.step / progress.total), text
