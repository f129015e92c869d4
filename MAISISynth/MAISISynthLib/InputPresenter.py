"""What the section "Inputs" says: what was recognized, on which voxels the model works, what it will cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from maisi.errors import InputError
from maisi.models.store import stored
from maisi.models.variants import get_variant
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISISynthLib.InputCheck import checkInput
from MAISISynthLib.SynthesisChoices import Choices


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

    Where the logic offers ``estimate(segmentationNode, **options)``, what that returns is polled until ``done``; then
    it has ``memoryGb`` and ``seconds``, or an ``error``.

    Attributes:
        choices: what the user chose. check: what is to be said about the segmentation.
    """

    def __init__(self, view: View, logic: Any, settings: Settings) -> None:
        self.choices = Choices()
        self.check = checkInput(None)
        self._view, self._logic, self._settings = view, logic, settings
        self._estimated: tuple | None = None  # what the estimate is of
        self._estimate: Any = None

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

    def _askForEstimate(self) -> None:
        """Ask once for each grid and set of options; editing a segment changes neither."""
        if self.check.problem or not hasattr(self._logic, "estimate"):
            self._estimated = self._estimate = None
            return
        options = {**self.choices.options(), "device": self._settings.device}
        wanted = (self.check.grid.shape, self.check.grid.worldAffine.tobytes(), *options.items())
        if wanted != self._estimated:
            self._estimated = wanted
            try:
                self._estimate = self._logic.estimate(self.choices.segmentation, **options)
            except InputError:  # the same sentence comes, once and in the right place, when the button is pressed
                self._estimate = None

    def _show(self) -> None:
        valid, sentence = self.check.isValid()
        if valid and self._estimate is not None and self._estimate.done and not self._estimate.error:
            text = _("{sentence}; needs about {memory:.1f} GB and {seconds:.0f} s")
            sentence = text.format(sentence=sentence, memory=self._estimate.memoryGb, seconds=self._estimate.seconds)
        notices = (*self._modelNotices(), *(self.check.plan.notices if self.check.plan is not None else ()))
        self._view.showInput(InputState(sentence, notices, self.choices.seedMatters))

    def _modelNotices(self) -> list[str]:
        """Which model it will be, where that is not the chosen one; and that its weights are not here."""
        notices, model = [], self.choices.modelInUse
        if not self.choices.seedMatters:
            text = _("The change is made with the seed and the model ({model}) of '{name}'.")
            notices.append(text.format(model=model, name=self.choices.before.GetName()))
        if self.check.grid is not None and not stored(get_variant(model)).installed:
            text = _("The weights of the model {model} are not on this computer; see Models and environment.")
            notices.append(text.format(model=model))
        return notices
