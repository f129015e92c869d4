"""What the user chose to see of trainings, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from MAISITrainLib.LossCurves import LOSS


@dataclass(frozen=True)
class TrainChoices:
    """What is shown in the present scene.

    Attributes:
        run: folder of the training that is followed. figure: the one that is plotted.
        smoothing: of its curve, 0 to below 1. logScale: of the plot. previews: whether they are volumes of the scene.
    """

    run: str = ""
    figure: str = LOSS
    smoothing: float = 0.9
    logScale: bool = False
    previews: bool = False


def choicesOf(parameters: Any) -> TrainChoices:
    """The choices that a parameter node holds."""
    return TrainChoices(**{name: getattr(parameters, name) for name in TrainChoices.__dataclass_fields__})
