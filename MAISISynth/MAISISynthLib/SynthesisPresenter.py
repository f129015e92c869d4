"""What the panel shows and allows, decided without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import Protocol

import slicer

from maisi.errors import InputError
from maisi.protocol import Progress
from MAISILib import Dependencies
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.InputCheck import checkInput
from MAISISynthLib.SynthesisJob import SynthesisJob
from MAISISynthLib.SynthesisLogic import MAISISynthLogic

STAGES = {"load": _("Loading the model"), "sample": _("Sampling"), "decode": _("Decoding"), "check": _("Checking")}


@dataclass(frozen=True)
class PanelState:
    """Everything that the panel shows.

    Attributes:
        status: the sentences beside the button.
        buttonText, buttonEnabled: the one button that starts and cancels.
        inputsEnabled: whether other nodes can be chosen. seedEnabled: whether the seed matters.
        running: whether ``poll`` must be called regularly.
        percent: of the progress bar, 0-100; None for "busy". progressText: beside it.
        log: lines of the worker. logOpened: whether they should be seen now.
    """

    status: str
    buttonText: str
    buttonEnabled: bool
    inputsEnabled: bool = True
    seedEnabled: bool = True
    running: bool = False
    percent: int | None = 0
    progressText: str = ""
    log: str = ""
    logOpened: bool = False


class View(Protocol):
    """What the presenter needs of a panel."""

    def show(self, state: PanelState) -> None:
        """Show this state."""

    def showVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a new CT in the slice views, and offer it as the one to edit next."""


class SynthesisPresenter:
    """Between the panel and the logic. The panel tells what the user did; the presenter tells what to show."""

    def __init__(
        self,
        view: View,
        logic: MAISISynthLogic,
        settings: Settings,
        ensurePackages: Callable[[], None] = Dependencies.ensure,
    ) -> None:
        """``ensurePackages`` installs what the application's own Python lacks, after asking."""
        self._view, self._logic, self._settings = view, logic, settings
        self._ensurePackages = ensurePackages
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._before: slicer.vtkMRMLScalarVolumeNode | None = None
        self._job: SynthesisJob | None = None
        self._outcome = ""  # how the last job ended, until the inputs change
        self._log = ""
        self._logOpened = False

    def setInputs(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        before: slicer.vtkMRMLScalarVolumeNode | None,
    ) -> None:
        """The user chose other nodes (``before`` None: a whole new CT)."""
        if (segmentationNode, before) != (self._segmentationNode, self._before):
            self._segmentationNode, self._before, self._outcome = segmentationNode, before, ""
        self.update()

    def press(self, seed: int) -> None:
        """The user pressed the button: start, or cancel what runs. ``seed`` counts for a whole new CT only."""
        if self._job is not None:
            self._job.cancel()
        else:
            self._start(seed)
        self.update()

    def poll(self) -> None:
        """Call about ten times a second while ``running``."""
        if self._job is None or not self._job.poll():
            return
        if self._job.done:
            self._finish()
        self.update()

    def update(self) -> None:
        """Show the present state; call when the segmentation has been edited."""
        self._view.show(self._runningState() if self._job else self._idleState())

    def close(self) -> None:
        """The panel goes away: nothing may go on."""
        self._logic.worker.close()
        if self._job is not None:
            self._job.poll()  # it is cancelled now; this removes its files
            self._job = None

    def _start(self, seed: int) -> None:
        self._outcome, self._log, self._logOpened = "", "", False
        try:
            if self._settings.usesOwnPython:
                self._ensurePackages()
            # An edit takes the seed of the CT that it changes (None), so that there is no seam.
            self._job = self._logic.startSynthesis(
                self._segmentationNode,
                seed=None if self._before else seed,
                device=self._settings.device,
                before=self._before,
            )
        except (InputError, RuntimeError, CalledProcessError) as error:  # the latter two: packages
            self._outcome = str(error)

    def _finish(self) -> None:
        job, self._job = self._job, None
        self._log = "\n".join(job.log)
        if job.state == "done":
            self._outcome = "\n".join([_("'{name}' is ready.").format(name=job.volumeNode.GetName()), *job.notices])
            self._view.showVolume(job.volumeNode)
        elif job.state == "cancelled":
            self._outcome = _("Cancelled; the scene is as it was.")
        else:
            self._outcome, _newline, details = job.error.partition("\n")
            self._log = "\n".join(filter(None, [self._log, details]))
            self._logOpened = bool(self._log)

    def _idleState(self) -> PanelState:
        valid, sentence = checkInput(self._segmentationNode).isValid()
        return PanelState(
            status=self._outcome or sentence,
            buttonText=_("Synthesize the change") if self._before else _("Synthesize"),
            buttonEnabled=valid,
            seedEnabled=self._before is None,
            log=self._log,
            logOpened=self._logOpened,
        )

    def _runningState(self) -> PanelState:
        percent, text = describeProgress(self._job.progress)
        return PanelState(
            status=_("Synthesizing; the segmentation may be edited meanwhile."),
            buttonText=_("Cancel"),
            buttonEnabled=True,
            inputsEnabled=False,
            seedEnabled=False,
            running=True,
            percent=percent,
            progressText=text,
            log="\n".join(self._job.log),
        )


def describeProgress(progress: Progress | None) -> tuple[int | None, str]:
    """Percent (None: unknown) and text, for example 40 and "Sampling 12/30, 41 s left"."""
    if progress is None:
        return None, _("Starting")
    text = STAGES.get(progress.stage, progress.stage)
    if progress.total <= 1:
        return None, text
    text = _("{stage} {step}/{total}").format(stage=text, step=progress.step, total=progress.total)
    if progress.seconds_left is not None:
        text = _("{text}, {seconds:.0f} s left").format(text=text, seconds=progress.seconds_left)
    return round(100 * progress.step / progress.total), text
