"""The module's choices as a parameter node, saved with the scene. Only the application has the wrapper for it."""

# No `from __future__ import annotations`: the wrapper reads the annotations as types.
import logging
from typing import Annotated, Optional

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from MAISISynthLib.SingletonNodes import parameterNode
from MAISISynthLib.SynthesisChoices import MODELS_OWN_STEPS, Solver


@parameterNodeWrapper
class SynthesisParameters:
    """The fields of ``SynthesisChoices.Choices``. What belongs to the machine (device, Python) is in the settings."""

    segmentation: Optional[slicer.vtkMRMLSegmentationNode]  # noqa: UP045 - the wrapper of Slicer 5.10 needs it so
    before: Optional[slicer.vtkMRMLScalarVolumeNode]  # noqa: UP045
    seed: Annotated[int, WithinRange(0, 999999)] = 0
    model: str = "embedded"
    steps: Annotated[int, WithinRange(0, 1000)] = MODELS_OWN_STEPS
    solver: Solver = Solver.DEFAULT
    whole: bool = False
    autoUpdate: bool = False


def synthesisParameters(scene: slicer.vtkMRMLScene) -> SynthesisParameters:
    """The choices that the scene holds; those that another version wrote and this one cannot read are reset."""
    node = parameterNode(scene)
    try:
        return SynthesisParameters(node)
    except ValueError as error:
        logging.warning("Settings of the scene were reset: %s", error)
        for name in ("seed", "model", "steps", "solver", "whole", "autoUpdate"):
            node.UnsetParameter(name)
        return SynthesisParameters(node)
