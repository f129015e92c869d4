"""What the user chose for a series, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import slicer

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.SynthesisChoices import Choices

AS_NEEDED = 0


@dataclass(frozen=True)
class VaryChoices:
    """The choices of one series.

    Attributes:
        synthesis: segmentation, seed, model, steps and solver are those of the section "Synthesize".
        volume: CT to put the lesions into; None: everything is synthesized.
        folder: of the data set. cases: how many images. organs, sizes: names, and millimeters, between commas; "" for
            the usual ones. shapes: of each kind of lesion. places: in each organ, 0 for as many as are needed.
        processes: that share the work.
    """

    synthesis: Choices = field(default_factory=Choices)
    volume: slicer.vtkMRMLScalarVolumeNode | None = None
    folder: str = ""
    cases: int = 20
    organs: str = ""
    sizes: str = ""
    shapes: int = 2
    places: int = AS_NEEDED
    processes: int = 1

    def settings(self) -> dict[str, Any]:
        """Arguments of ``VaryLogic.plan`` and ``start`` about the series. Raises InputError: a size is no number."""
        return {
            "cases": self.cases,
            "organs": _words(self.organs),
            "sizes_mm": [_millimeters(word) for word in _words(self.sizes)],
            "shapes": self.shapes,
            "places": self.places or None,
            "seed": self.synthesis.seed,
            "model": self.synthesis.model,
            "steps": self.synthesis.steps or None,
            "solver": self.synthesis.solver.value,
        }


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _millimeters(word: str) -> float:
    try:
        return float(word.removesuffix("mm"))
    except ValueError:
        text = _("'{word}' is no size: write millimeters between commas, such as 10, 20, 40.")
        raise InputError(text.format(word=word)) from None
