"""What a panel for series shows and allows, decided without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maisi.errors import InputError
from maisi.labels import LABELS
from maisi.vary.series import Item
from MAISILib import Dependencies
from MAISILib.Settings import AUTO, Settings
from MAISILib.Translate import _
from MAISISynthLib.JobPresenter import JobPresenter
from MAISISynthLib.VaryChoices import VaryChoices
from MAISISynthLib.VaryJob import VaryJob
from MAISISynthLib.VaryLogic import VaryLogic

ERRORS_SHOWN = 3


@dataclass(frozen=True)
class VaryState:
    """Everything that the panel shows.

    Attributes:
        status: sentences beside the button: what would be made, how far it is, or how it ended.
        buttonText, buttonEnabled: the one button that starts and cancels. planEnabled: the one that shows the plan.
        inputsEnabled: whether nodes, factors and folder can be changed. running: whether ``poll`` must be called.
        percent: of the progress bar, 0-100; None for "busy".
    """

    status: str
    buttonText: str
    buttonEnabled: bool
    planEnabled: bool
    inputsEnabled: bool = True
    running: bool = False
    percent: int | None = 0


class VaryView(Protocol):
    """What the presenter needs of a panel."""

    def showVary(self, state: VaryState) -> None:
        """Show this state."""


class VaryPresenter(JobPresenter):
    """Between the panel and ``VaryLogic``."""

    def __init__(
        self,
        view: VaryView,
        logic: VaryLogic,
        settings: Settings,
        ensurePackages: Callable[[], None] = Dependencies.ensure,
    ) -> None:
        super().__init__(ensurePackages)
        self._view, self._logic, self._settings = view, logic, settings
        self._choices = VaryChoices()
        self._folder = ""  # of the series that was started last
        self._outcome = ""  # how it ended, or what the plan is; until the choices change

    def setChoices(self, choices: VaryChoices) -> None:
        """The user chose something else; the plan is made by ``preview`` only, since it looks at all voxels."""
        if choices != self._choices:
            self._choices, self._outcome = choices, ""
            self.update()

    def preview(self) -> None:
        """The user wants to know what would be made."""
        chosen = self._choices
        try:
            items = self._logic.plan(chosen.synthesis.segmentation, chosen.volume, **chosen.settings())
            self._outcome = describePlan(items)
        except InputError as error:
            self._outcome = str(error)
        self.update()

    def close(self) -> None:
        """The panel goes away: nothing may go on. Complete cases stay."""
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _start(self) -> None:
        chosen = self._choices
        self._folder = chosen.folder
        self._outcome = self._begin(
            lambda: self._logic.start(
                chosen.synthesis.segmentation,
                chosen.folder,
                chosen.volume,
                chosen.processes,
                device=AUTO if self._settings.remoteHost else self._settings.device,
                **chosen.settings(),
            ),
            not self._settings.python,
        )

    def _finish(self, job: VaryJob) -> None:
        text = _("{done} of {total} cases are complete in {folder}.")
        told = text.format(done=job.status.done, total=job.status.total, folder=Path(self._folder).name)
        if job.state == "done":
            self._outcome = told
        elif job.state == "cancelled":
            self._outcome = _("Cancelled. {told} Start again to make the others.").format(told=told)
        else:
            errors = [f"{case}: {sentence}" for case, sentence in job.status.errors.items()]
            self._outcome = "\n".join([job.error, *errors[:ERRORS_SHOWN]])

    def _show(self, state: VaryState) -> None:
        self._view.showVary(state)

    def _idleState(self) -> VaryState:
        missing = ""
        if self._choices.synthesis.segmentation is None:
            missing = _("Choose a segmentation.")
        elif not self._choices.folder:
            missing = _("Choose a folder for the series.")
        told = self._outcome or missing
        if not told and self._settings.remoteHost:
            told = _("The series is made on this computer, not on {host}.").format(host=self._settings.remoteHost)
        planned = self._choices.synthesis.segmentation is not None
        return VaryState(told, _("Make the series"), buttonEnabled=not missing, planEnabled=planned)

    def _runningState(self) -> VaryState:
        progress = self._job.progress
        text, percent = _("Planning the series"), None
        if progress is not None:
            text = _("{step} of {total} cases").format(step=progress.step, total=progress.total)
            percent = round(100 * progress.step / progress.total)
        return VaryState(text, _("Cancel"), True, planEnabled=False, inputsEnabled=False, running=True, percent=percent)


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
