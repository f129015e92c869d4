"""What is said about a segmentation before anything is computed: can it be used, and what was understood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from maisi.errors import InputError
from maisi.geometry import GridPlan, plan_grid
from maisi.models.variants import get_variant
from MAISILib.Translate import _
from MAISISynthLib.LabelMapping import LabelMapping, mapSegments
from MAISISynthLib.NodeGrid import Grid, segmentationGrid

ORGANS_NAMED = 2  # with more organs, their number is told instead


@dataclass(frozen=True)
class InputCheck:
    """A segmentation as input of a synthesis.

    Attributes:
        mapping: what the segments are; grid: their voxels. Both None where ``problem`` says why.
        plan: the voxels that the model works on; None where no model was named, or where nibabel, which planning needs,
            is not installed yet.
        problem: the sentence that tells why no synthesis is possible, or "".
    """

    mapping: LabelMapping | None = None
    grid: Grid | None = None
    plan: GridPlan | None = None
    problem: str = ""

    def isValid(self) -> tuple[bool, str]:
        """Whether it can be used, and the sentence to show beside the button."""
        return not self.problem, self.problem or self.summary

    @property
    def summary(self) -> str:
        """For example "Liver and 1 lesion, 12 of 14 segments recognized; 0.8 x 0.8 x 3.0 mm -> 2.0 x 2.0 x 3.0 mm"."""
        text = _("{contents}, {recognized} of {count} segments recognized; {spacing}").format(
            contents=_contents(self.mapping),
            recognized=len(self.mapping.ids),
            count=len(self.mapping.names),
            spacing=_millimeters(self.grid.spacing),
        )
        if self.plan is None or not self.plan.resampled:
            return text
        axes = np.argsort(self.plan.order)  # the model's voxel size along the user's I, J, K
        return f"{text} -> {_millimeters(self.plan.model_spacing[axes])}"


def checkInput(segmentationNode: slicer.vtkMRMLSegmentationNode | None, model: str | None = None) -> InputCheck:
    """Look at the segments and the grid, not at the voxels: quick enough to be called after every edit.

    Args:
        model: a name of ``maisi models``, to see whether it can work on this grid too.
    """
    if segmentationNode is None:
        return InputCheck(problem=_("Choose a segmentation."))
    name = segmentationNode.GetName()
    mapping = mapSegments(segmentationNode)
    if not mapping.names:
        return InputCheck(problem=_("'{name}' has no segments: draw or load organs first.").format(name=name))
    if not mapping.ids:
        text = _("No segment of '{name}' was recognized ({names}): rename them, or set their terminology.")
        return InputCheck(problem=text.format(name=name, names=", ".join(mapping.unmapped)))
    try:
        grid = segmentationGrid(segmentationNode)
        return InputCheck(mapping, grid, _plan(grid, model) if model else None)
    except InputError as error:
        return InputCheck(problem=str(error))


def _plan(grid: Grid, model: str) -> GridPlan | None:
    rules = get_variant(model).grid
    try:
        return plan_grid(grid.shape, grid.worldAffine, rules)
    except ImportError:
        return None


def _millimeters(spacing: np.ndarray) -> str:
    return _("{sizes} mm").format(sizes=" x ".join(f"{size:.1f}" for size in spacing))


def _contents(mapping: LabelMapping) -> str:
    """ "Liver, spleen and 1 lesion" or "12 organs and 2 lesions"."""
    organs, lesions = mapping.organs, mapping.lesionCount
    parts = organs if len(organs) <= ORGANS_NAMED else [_("{count} organs").format(count=len(organs))]
    if lesions:
        parts = [*parts, (_("{count} lesion") if lesions == 1 else _("{count} lesions")).format(count=lesions)]
    if not parts:
        return _("Body")
    text = parts[0] if len(parts) == 1 else _("{first} and {last}").format(first=", ".join(parts[:-1]), last=parts[-1])
    return text[0].upper() + text[1:]
