"""The module's choices as a parameter node, saved with the scene. Only the application has the wrapper for it."""

# No `from __future__ import annotations`: the wrapper reads the annotations as types.
import logging
from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from MAISISynthLib.SingletonNodes import parameterNode

TAG = "MAISITrain"


@parameterNodeWrapper
class TrainParameters:
    """The fields of ``TrainChoices.TrainChoices``. What belongs to the machine is in the settings."""

    run: str
    figure: str = "loss"
    smoothing: Annotated[float, WithinRange(0, 0.99)] = 0.9
    logScale: bool = False
    previews: bool = False


def trainParameters(scene: slicer.vtkMRMLScene) -> TrainParameters:
    """The choices that the scene holds; those that another version wrote and this one cannot read are reset."""
    node = parameterNode(scene, TAG)
    try:
        return TrainParameters(node)
    except ValueError as error:
        logging.warning("Settings of the scene were reset: %s", error)
        for name in ("run", "figure", "smoothing", "logScale", "previews"):
            node.UnsetParameter(name)
        return TrainParameters(node)
