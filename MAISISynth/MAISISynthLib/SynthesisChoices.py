"""What the user chose for the next synthesis, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import slicer

from MAISILib.Translate import _
from MAISISynthLib.SceneIO import SYNTHETIC
from MAISISynthLib.SynthesisLogic import requestOf

MODELS_OWN_STEPS = 0


class Solver(Enum):
    """The solvers by name; scenes store the name of the member, so members are added but never renamed."""

    DEFAULT = None
    EULER = "euler"
    ADAMS_BASHFORTH = "adams-bashforth"
    HEUN = "heun"
    DDPM = "ddpm"
    DDIM = "ddim"

    def label(self) -> str:
        """For the combo box."""
        return self.value or _("The model's own")


@dataclass(frozen=True)
class Choices:
    """The choices of one synthesis.

    Attributes:
        segmentation: what to show. before: the CT to change only where it changed; None for a whole new CT.
        seed, model: of a whole new CT; a synthetic CT is changed with its own.
        steps: of the solver, 0 for the model's own. whole: compute the whole CT for a change too.
        autoUpdate: synthesize the change after every edit.
    """

    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    before: slicer.vtkMRMLScalarVolumeNode | None = None
    seed: int = 0
    model: str = "embedded"
    steps: int = MODELS_OWN_STEPS
    solver: Solver = Solver.DEFAULT
    whole: bool = False
    autoUpdate: bool = False

    @property
    def seedMatters(self) -> bool:
        """Whether ``seed`` and ``model`` are used: a synthetic CT is changed with its own, so that there is no seam."""
        return self.before is None or self.before.GetAttribute(SYNTHETIC) is None

    @property
    def modelInUse(self) -> str:
        """The model that will be used."""
        return self.model if self.seedMatters else requestOf(self.before).get("model", "embedded")

    def options(self) -> dict[str, Any]:
        """Arguments of ``MAISISynthLogic.startSynthesis`` besides the segmentation and the device."""
        return {
            "before": self.before,
            "seed": self.seed if self.seedMatters else None,
            "model": self.model if self.seedMatters else None,
            "steps": self.steps or None,
            "solver": self.solver.value,
            "method": "full" if self.whole else "local",
        }


def choicesOf(parameters: Any) -> Choices:
    """The choices that a parameter node holds; nodes that have left the scene count as not chosen."""
    values = {name: getattr(parameters, name) for name in Choices.__dataclass_fields__}
    for name in ("segmentation", "before"):
        if values[name] is not None and values[name].GetScene() is None:
            values[name] = None
    return Choices(**values)
