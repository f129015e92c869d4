"""What a panel for series shows and allows, decided without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Protocol

import slicer

from maisi.errors import InputError
from maisi.labels import LABELS
from maisi.vary.series import Item
from MAISILib import Dependencies
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.VaryJob import VaryJob
from MAISISynthLib.VaryLogic import VaryLogic

ERRORS_SHOWN = 3


@dataclass(frozen=True)
class VaryState:
    """Everything that the panel shows.

    Attributes:
        status: sentences beside the button: what would be made, how far it is, or how it ended.
        buttonText, buttonEnabled: the one button that starts and cancels.
        inputsEnabled: whether nodes, factors and folder can be changed. running: whether ``poll`` must be called.
        percent: of the progress bar, 0-100; None for "busy".
    """

    status: str
    buttonText: str
    buttonEnabled: bool
    inputsEnabled: bool = True
    running: bool = False
    percent: int | None = 0


class VaryView(Protocol):
    """What the presenter needs of a panel."""

    def show(self, state: VaryState) -> None:
        """Show this state."""


class VaryPresenter:
    """Between the panel and ``VaryLogic``."""

    def __init__(
        self,
        view: VaryView,
        logic: VaryLogic,
        settings: Settings,
        ensurePackages: Callable[[], None] = Dependencies.ensure,
    ) -> None:
        """``ensurePackages`` installs what the application's own Python lacks, after asking."""
        self._view, self._logic, self._settings = view, logic, settings
        self._ensurePackages = ensurePackages
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._folder, self._request = "", {}
        self._job: VaryJob | None = None
        self._outcome = ""  # how the last series ended, or what the plan is; until the inputs change

    def setInputs(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        folder: str,
        **request: Any,
    ) -> None:
        """The user chose something else; the plan is made by ``preview`` only, since it looks at all voxels."""
        self._segmentationNode, self._volumeNode = segmentationNode, volumeNode
        self._folder, self._request = folder, request
        self._outcome = ""
        self.update()

    def preview(self) -> None:
        """The user wants to know what would be made."""
        try:
            items = self._logic.plan(self._segmentationNode, self._volumeNode, **self._request)
            self._outcome = describePlan(items)
        except InputError as error:
            self._outcome = str(error)
        self.update()

    def press(self) -> None:
        """The user pressed the button: start or go on, or cancel what runs."""
        if self._job is not None:
            self._job.cancel()
            self._finish()
        else:
            self._start()
        self.update()

    def poll(self) -> None:
        """Call a few times a second while ``running``."""
        if self._job is None or not self._job.poll():
            return
        if self._job.done:
            self._finish()
        self.update()

    def update(self) -> None:
        """Show the present state."""
        self._view.show(self._runningState() if self._job else self._idleState())

    def close(self) -> None:
        """The panel goes away: nothing may go on. Complete cases stay."""
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _start(self) -> None:
        try:
            if not self._settings.python:
                self._ensurePackages()
            self._job = self._logic.start(
                self._segmentationNode, self._folder, self._volumeNode, device=self._settings.device, **self._request
            )
        except (InputError, RuntimeError, CalledProcessError) as error:  # the latter two: packages
            self._outcome = str(error)

    def _finish(self) -> None:
        job, self._job = self._job, None
        text = _("{done} of {total} cases are complete in {folder}.")
        told = text.format(done=job.status.done, total=job.status.total, folder=Path(self._folder).name)
        if job.state == "done":
            self._outcome = told
        elif job.state == "cancelled":
            self._outcome = _("Cancelled. {told} Start again to make the others.").format(told=told)
        else:
            errors = [f"{case}: {sentence}" for case, sentence in job.status.errors.items()]
            self._outcome = "\n".join([job.error, *errors[:ERRORS_SHOWN]])

    def _idleState(self) -> VaryState:
        missing = ""
        if self._segmentationNode is None:
            missing = _("Choose a segmentation.")
        elif not self._folder:
            missing = _("Choose a folder for the series.")
        return VaryState(self._outcome or missing, _("Make the series"), buttonEnabled=not missing)

    def _runningState(self) -> VaryState:
        progress = self._job.progress
        text, percent = _("Planning the series"), None
        if progress is not None:
            text = _("{step} of {total} cases").format(step=progress.step, total=progress.total)
            percent = round(100 * progress.step / progress.total)
        return VaryState(text, _("Cancel"), True, inputsEnabled=False, running=True, percent=percent)


def describePlan(items: list[Item]) -> str:
    """For example "50 cases, 25 with a lesion: hepatic tumor, bone lesion; 12 to 40 mm"."""
    variations = [item.variation for item in items if item.variation]
    kinds = ", ".join(dict.fromkeys(LABELS[variation.lesion.label].name for variation in variations))
    sizes = [variation.size_mm for variation in variations]
    text = _("{total} cases, {count} with a lesion: {kinds}; {low:g} to {high:g} mm").format(
        total=len(items), count=len(variations), kinds=kinds, low=min(sizes), high=max(sizes)
    )
    clipped = sum(variation.clipped >= 0.5 for variation in variations)
    if clipped:
        text += _("; {count} do not fit into their organ and lose half or more").format(count=clipped)
    return text
