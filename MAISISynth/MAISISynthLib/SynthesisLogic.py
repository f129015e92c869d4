"""The module's logic: from a segmentation node to a synthetic CT node, blocking or not."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import slicer

from maisi.errors import InputError
from maisi.labels import remove_lesions
from maisi.models.variants import variants
from maisi.options import Options
from maisi.volume import LabelVolume
from MAISILib.EstimateJob import EstimateJob
from MAISILib.Interpreter import Interpreter
from MAISILib.Settings import Settings
from MAISILib.Translate import _
from MAISILib.Worker import Worker
from MAISISynthLib.Draft import Draft
from MAISISynthLib.InputCheck import InputCheck, checkInput
from MAISISynthLib.LabelMapping import LabelMapping, placedLesions
from MAISISynthLib.SceneIO import SYNTHETIC, reachesOutside, readImage, readLabelmap, readLabelNode, readLabels
from MAISISynthLib.SynthesisJob import REQUEST, SynthesisJob
from MAISISynthLib.VoxelOrder import inOrderOf


@cache
def sharedWorker() -> Worker:
    """The one worker process of this application, so that the networks are in memory once."""
    application = getattr(slicer, "app", None)
    return Worker(Interpreter(Settings(application.userSettings() if application else None)))


class MAISISynthLogic:
    """CT synthesis from segmentations.

    Example::

        logic = MAISISynthLogic()
        ct = logic.synthesize(segmentationNode, seed=7)     # waits, returns the new volume node
        # ... grow, move or draw a lesion in the Segment Editor ...
        ct2 = logic.resynthesize(ct, segmentationNode)      # changed only where the segments changed

        job = logic.startSynthesis(segmentationNode)        # the same without waiting
        job.poll(); job.cancel()
    """

    def __init__(self, worker: Worker | None = None) -> None:
        self.worker = worker or sharedWorker()
        variants()  # lesion classes of the user's own models are known from here on

    def synthesize(self, segmentationNode: slicer.vtkMRMLSegmentationNode, **options) -> slicer.vtkMRMLScalarVolumeNode:
        """Wait for ``startSynthesis`` with the same arguments and return the new volume node.

        Raises:
            InputError: as ``startSynthesis``. JobError, JobCancelled: as ``SynthesisJob.wait``.
        """
        return self.startSynthesis(segmentationNode, **options).wait()

    def resynthesize(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        **options,
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """A new CT that equals ``volumeNode`` but for the region where the segmentation changed since it was made."""
        return self.synthesize(segmentationNode, before=volumeNode, **options)

    def startSynthesis(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        seed: int | None = None,
        model: str | None = None,
        before: slicer.vtkMRMLScalarVolumeNode | None = None,
        labelsBefore: slicer.vtkMRMLLabelMapVolumeNode | None = None,
        draft: Draft | None = None,
        **options,
    ) -> SynthesisJob:
        """Start to make a CT on the segmentation's own grid. The segmentation and ``before`` are not changed.

        Args:
            seed: of the noise; None: that of ``before``, else 0. model: a name of ``maisi models``; None: that of
                ``before``, else "embedded". An edit with the same seed and model has no seam.
            before: a CT of an earlier state of this segmentation, to change only where the labels changed: a synthetic
                one, or a patient's.
            labelsBefore: MAISI ids of that earlier state; None: the label map that a synthetic CT carries; for a
                patient's CT the segmentation without the lesions that were placed with the Tumor tool.
            draft: a change that is to be replaced by this one, if nobody has touched it by then.
            options: steps, device, solver, guidance, retries and whatever else ``maisi.options.Options`` has.

        Raises:
            InputError: the segmentation (or ``before``) or an option cannot be used; the sentence tells why.
        """
        check = _usable(segmentationNode)
        labels = readLabels(segmentationNode, check.mapping.ids)
        edited = None
        if before is not None:
            old = _labelsBefore(before, labelsBefore, segmentationNode, labels)
            edited = inOrderOf(readImage(before), labels), inOrderOf(old, labels)
            _checkEdit(before.GetName(), edited, labels)
        notices = check.mapping.notices + _missing(check.mapping, labels)
        if reachesOutside(segmentationNode):
            notices.append(_("Parts of the segments lie outside the grid of the segmentation and were left out."))
        complete = _complete(options, seed, model, before)
        return SynthesisJob(
            self.worker, segmentationNode, labels, check.grid, complete, edited, notices, before=before, draft=draft
        )

    def estimate(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        seed: int | None = None,
        model: str | None = None,
        before: slicer.vtkMRMLScalarVolumeNode | None = None,
        **options,
    ) -> EstimateJob:
        """Ask for the memory and the time that ``startSynthesis`` with the same arguments would need.

        Its grid and the options count, not its voxels. Nothing is loaded for it; a worker is started if there is none,
        on the machine that computes. See ``EstimateJob`` for where the figures come from.

        Raises:
            InputError: as ``startSynthesis``.
        """
        grid = _usable(segmentationNode).grid
        complete = _complete(options, seed, model, before)
        return EstimateJob(self.worker, grid.shape, grid.worldAffine, complete, edit=before is not None)


def _usable(segmentationNode: slicer.vtkMRMLSegmentationNode) -> InputCheck:
    """What is known about a segmentation. Raises InputError: it cannot be used."""
    check = checkInput(segmentationNode)
    valid, sentence = check.isValid()
    if not valid:
        raise InputError(sentence)
    return check


def _complete(
    options: dict[str, Any],
    seed: int | None,
    model: str | None,
    before: slicer.vtkMRMLScalarVolumeNode | None,
) -> dict[str, Any]:
    """All options; seed and model are those of ``before`` where none were given. Raises InputError."""
    earlier = requestOf(before) if before else {}
    seed = earlier.get("seed", 0) if seed is None else seed
    model = model or earlier.get("model", "embedded")
    return Options.from_json({**options, "seed": seed, "model": model}).to_json()


def requestOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """How a synthetic volume was asked for (seed, model, steps, device, edit); empty when it does not tell."""
    try:
        request = json.loads(volumeNode.GetAttribute(REQUEST) or "{}")
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def _labelsBefore(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    labelNode: slicer.vtkMRMLLabelMapVolumeNode | None,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labels: LabelVolume,
) -> LabelVolume:
    """The labels that fit ``volumeNode`` as it is. Raises InputError: nothing tells what was edited."""
    if labelNode is not None:
        return readLabelNode(labelNode)
    if volumeNode.GetAttribute(SYNTHETIC):
        return readLabelmap(volumeNode)
    placed = placedLesions(segmentationNode)
    if not placed:
        text = _(
            "Nothing tells what is new in the segmentation of '{name}': place a lesion with the Tumor tool, or give "
            "the label map from before the edit."
        )
        raise InputError(text.format(name=volumeNode.GetName()))
    new = readLabels(segmentationNode, placed).array == labels.array
    return LabelVolume(np.where(new, remove_lesions(labels.array), labels.array), labels.affine)


def _checkEdit(name: str, edited: tuple, labels: LabelVolume) -> None:
    image, before = edited
    if not (image.same_grid(labels) and before.same_grid(labels)):
        text = _("'{name}' is on another grid than the segmentation: synthesize the whole CT instead.")
        raise InputError(text.format(name=name))
    if np.array_equal(before.array, labels.array):
        raise InputError(_("The segmentation is as it was when '{name}' was made: edit it first.").format(name=name))


def _missing(mapping: LabelMapping, labels: LabelVolume) -> list[str]:
    """A sentence about recognized segments of which no voxel is left in the label map."""
    present = set(np.unique(labels.array).tolist())
    names = [mapping.names[segmentId] for segmentId, label in mapping.ids.items() if label not in present]
    text = _("No voxels of: {names} (empty, or covered by other segments).")
    return [text.format(names=", ".join(f"'{name}'" for name in names))] if names else []
