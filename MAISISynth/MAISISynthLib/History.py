"""The runs of a scene, read from what every synthetic CT carries; nothing else remembers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import slicer

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.SceneIO import BEFORE_REFERENCE, LABELS_REFERENCE, SYNTHETIC
from MAISISynthLib.SynthesisChoices import MODELS_OWN_STEPS, Solver
from MAISISynthLib.SynthesisJob import INFO, REQUEST
from MAISISynthLib.SynthesisLogic import requestOf


@dataclass(frozen=True)
class Run:
    """One synthetic CT and how it was made.

    Attributes:
        volumeNode: the CT. before: the CT it is a change of, while that is in the scene.
        request: the options it was asked for with ("edit" among them). info: what the backend told about it.
    """

    volumeNode: slicer.vtkMRMLScalarVolumeNode
    before: slicer.vtkMRMLScalarVolumeNode | None
    request: dict[str, Any]
    info: dict[str, Any]

    @property
    def kind(self) -> str:
        """ "whole", or "change of" another CT."""
        if not self.request.get("edit"):
            return _("whole")
        if self.before is None:
            return _("change")
        return _("change of {name}").format(name=self.before.GetName())

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return self.info.get("seconds")

    def choices(self) -> dict[str, Any]:
        """The values of ``SynthesisChoices.Choices`` that would make this CT again, but for the segmentation."""
        known = {solver.value: solver for solver in Solver}
        return {
            "before": self.before,
            "seed": self.request.get("seed", 0),
            "model": self.request.get("model", "embedded"),
            "steps": self.request.get("steps") or MODELS_OWN_STEPS,
            "solver": known.get(self.request.get("solver"), Solver.DEFAULT),
            "whole": self.request.get("method") == "full",
        }


def runs(scene: slicer.vtkMRMLScene) -> list[Run]:
    """All runs of the scene, oldest first (the order of the scene, which saving keeps)."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
    return [_run(node) for node in volumes if node.GetAttribute(SYNTHETIC) and node.GetAttribute(REQUEST)]


def previous(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The run that a CT is best compared with: what it is a change of, else the run before it of the same size."""
    run = _run(volumeNode)
    if run.before is not None:
        return run.before
    volumes = [other.volumeNode for other in runs(volumeNode.GetScene())]
    earlier = volumes[: volumes.index(volumeNode)] if volumeNode in volumes else []
    return next((node for node in reversed(earlier) if _size(node) == _size(volumeNode)), None)


def _size(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[int, int, int] | None:
    return node.GetImageData().GetDimensions() if node.GetImageData() is not None else None


def delete(run: Run) -> None:
    """Remove a CT from the scene, and its label map unless another CT was made from the same one.

    Raises:
        InputError: it is no longer in the scene.
    """
    scene = run.volumeNode.GetScene()
    if scene is None:
        raise InputError(_("'{name}' is no longer in the scene.").format(name=run.volumeNode.GetName()))
    labels = run.volumeNode.GetNodeReference(LABELS_REFERENCE)
    scene.RemoveNode(run.volumeNode)
    if labels is not None and all(r.volumeNode.GetNodeReference(LABELS_REFERENCE) is not labels for r in runs(scene)):
        scene.RemoveNode(labels)


def _run(node: slicer.vtkMRMLScalarVolumeNode) -> Run:
    return Run(node, node.GetNodeReference(BEFORE_REFERENCE), requestOf(node), _infoOf(node))


def _infoOf(node: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    try:
        info = json.loads(node.GetAttribute(INFO) or "{}")
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}
