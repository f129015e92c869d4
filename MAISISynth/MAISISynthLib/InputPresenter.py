"""What the section "Inputs" says: what was recognized, on which voxels the model works, what it will cost."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from maisi.errors import InputError
from maisi.models.store import stored
from maisi.models.variants import get_variant
from MAISILib.EstimateJob import EstimateJob
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.InputCheck import checkInput
from MAISISynthLib.SynthesisChoices import Choices
from MAISISynthLib.SynthesisLogic import MAISISynthLogic


@dataclass(frozen=True)
class InputState:
    """Everything that the section shows: the sentence, and further sentences about the grid and the choices."""

    status: str
    notices: tuple[str, ...] = ()
    seedEnabled: bool = True


class View(Protocol):
    """What the presenter needs of a panel."""

    def showInput(self, state: InputState) -> None:
        """Show this state."""


class InputPresenter:
    """Keeps the user's choices and looks at them.

    What the synthesis would need is asked of the machine that computes, and told as soon as it is known.

    Attributes:
        choices: what the user chose. check: what is to be said about the segmentation.
    """

    def __init__(self, view: View, logic: MAISISynthLogic, settings: Settings) -> None:
        self.choices = Choices()
        self.check = checkInput(None)
        self._view, self._logic, self._settings = view, logic, settings
        self._estimated: tuple | None = None  # what the estimate is of
        self._estimate: EstimateJob | None = None

    @property
    def busy(self) -> bool:
        """Whether ``poll`` must be called regularly."""
        return self._estimate is not None and not self._estimate.done

    def setChoices(self, choices: Choices) -> None:
        """The user chose something else."""
        self.choices = choices
        self.update()

    def update(self) -> None:
        """Look again, and show what was seen; call when the segmentation has been edited."""
        self.check = checkInput(self.choices.segmentation, self.choices.modelInUse)
        self._askForEstimate()
        self._show()

    def poll(self) -> None:
        """Call about ten times a second while ``busy``."""
        if self.busy and self._estimate.poll():
            self._show()

    def estimateAgain(self) -> None:
        """A run is over, from which the worker has learned; or the machine that computes is another."""
        self._estimated = None
        self.update()

    def stopEstimate(self) -> None:
        """A run begins, which is not to wait for it."""
        if self._estimate is not None:
            self._estimate.cancel()

    def _askForEstimate(self) -> None:
        """Ask once for each grid and set of options; editing a segment changes neither."""
        options = {**self.choices.options(), "device": self._settings.device}
        wanted = None
        if not self.check.problem:
            wanted = (self.check.grid.shape, self.check.grid.worldAffine.tobytes(), *options.items())
        if wanted == self._estimated and wanted is not None:
            return
        self.stopEstimate()
        self._estimated, self._estimate = wanted, None
        if wanted is not None:
            with suppress(InputError):  # the same sentence comes, once and in the right place, with the button
                self._estimate = self._logic.estimate(self.choices.segmentation, **options)

    def _show(self) -> None:
        valid, sentence = self.check.isValid()
        notices = (*self._modelNotices(), *(self.check.plan.notices if self.check.plan is not None else ()))
        estimate = self._estimate
        if valid and estimate is not None and estimate.done:
            sentence = "; ".join(filter(None, [sentence, describeEstimate(estimate)]))
            if estimate.refused:
                notices = (estimate.error, *notices)
        self._view.showInput(InputState(sentence, notices, self.choices.seedMatters))

    def _modelNotices(self) -> list[str]:
        """Which model it will be, where that is not the chosen one; and that its weights are not here but needed."""
        notices, model = [], self.choices.modelInUse
        if not self.choices.seedMatters:
            text = _("The change is made with the seed and the model ({model}) of '{name}'.")
            notices.append(text.format(model=model, name=self.choices.before.GetName()))
        here = not self._settings.remoteHost  # another machine tells when it looks for them
        if here and self.check.grid is not None and not stored(get_variant(model)).installed:
            text = _("The weights of the model {model} are not on this computer; see Models and environment.")
            notices.append(text.format(model=model))
        return notices


def describeEstimate(estimate: EstimateJob) -> str:
    """For example "about 12 s, 1.4 GB"; "" where nothing is known."""
    if estimate.seconds is None:
        return ""
    text = (
        _("a change: about {seconds:.0f} s, {memory:.1f} GB")
        if estimate.edit
        else _("about {seconds:.0f} s, {memory:.1f} GB")
    )
    return text.format(seconds=max(estimate.seconds, 1), memory=estimate.memoryGb)
