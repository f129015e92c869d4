"""Two CTs compared: their signed difference as a volume, and the HU of tumors and organs as rows. No views here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS
from maisi.volume import ImageVolume, LabelVolume
from MAISILib.Translate import _
from MAISISynthLib.DifferenceColors import differenceColors
from MAISISynthLib.NodeGrid import volumeGrid
from MAISISynthLib.SceneIO import LABELS_REFERENCE, addVolume, readLabelmap, readValues, setValues
from MAISISynthLib.VoxelOrder import inOrderOf

DIFFERENCE = "MAISI.Difference"  # node attribute of difference volumes
BEFORE_REFERENCE, AFTER_REFERENCE = "MAISI.Before", "MAISI.After"  # node references of difference volumes
LEAST_RANGE = 50.0  # HU that the colors show at least on either side of zero
ENOUGH = 1_000_000  # voxels to find that range with
SLAB = 16  # slices that are looked at together; a whole CT in float64 would not fit everywhere


@dataclass(frozen=True)
class Sample:
    """The voxels of one structure in one CT: volume in ml, mean and standard deviation in HU."""

    milliliters: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class Comparison:
    """What changed from one CT to another.

    Attributes:
        samples: label -> that structure before and after (None where it is not there); lesions first, then their host
            organs, then whatever else changed its voxels.
        changedFraction: part of all voxels whose value differs. largest: the largest difference, HU.
        center: ``[3]`` RAS mm, the middle of what differs; None where nothing does.
    """

    samples: dict[int, tuple[Sample | None, Sample | None]]
    changedFraction: float
    largest: float
    center: np.ndarray | None


def compare(
    before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode
) -> tuple[Comparison, ImageVolume]:
    """What changed, and ``after - before`` in HU (float32) on the grid of ``after``; changes nothing in the scene.

    The structures are those of the label maps that the CTs were made from. A CT without one, such as a patient's own,
    is read with that of the other.

    Raises:
        InputError: one holds no image, or they are on different grids.
    """
    new = readValues(after)
    old = inOrderOf(readValues(before), new)
    if not old.same_grid(new):
        text = _("'{before}' and '{after}' are on different grids: choose two CTs of the same segmentation.")
        raise InputError(text.format(before=before.GetName(), after=after.GetName()))
    difference = ImageVolume(new.array - old.array, new.affine)
    changed = difference.array != 0
    comparison = Comparison(
        samples=_samples(old, new, *_labels(before, after, new)),
        changedFraction=np.count_nonzero(changed) / changed.size,
        largest=float(max(difference.array.max(), -difference.array.min())),
        center=_center(changed, new.affine),
    )
    return comparison, difference


def differenceVolume(
    before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode, difference: ImageVolume
) -> slicer.vtkMRMLScalarVolumeNode:
    """The volume of ``compare`` in the scene, in colors around zero; the one of the same two CTs is used again."""
    scene = after.GetScene()
    node = _existing(before, after)
    if node is None:
        name = scene.GenerateUniqueName(
            _("{after} minus {before}").format(after=after.GetName(), before=before.GetName())
        )
        node = addVolume(scene, "vtkMRMLScalarVolumeNode", difference.array, volumeGrid(after), name, {DIFFERENCE: "1"})
        node.SetNodeReferenceID(BEFORE_REFERENCE, before.GetID())
        node.SetNodeReferenceID(AFTER_REFERENCE, after.GetID())
    else:
        setValues(node, difference)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(differenceColors(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevel(2 * _range(difference.array), 0)
    return node


def _existing(
    before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLScalarVolumeNode | None:
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", after.GetScene()):
        references = node.GetNodeReference(BEFORE_REFERENCE), node.GetNodeReference(AFTER_REFERENCE)
        if node.GetAttribute(DIFFERENCE) and references == (before, after):
            return node
    return None


def _range(difference: np.ndarray) -> float:
    """HU on either side of zero that show nearly all of what differs."""
    differing = difference[difference != 0]
    differing = np.abs(differing[:: max(1, differing.size // ENOUGH)])
    return max(LEAST_RANGE, float(np.percentile(differing, 99))) if differing.size else LEAST_RANGE


def _center(mask: np.ndarray, affine: np.ndarray) -> np.ndarray | None:
    """The middle of the box around the mask, RAS mm."""
    if not mask.any():
        return None
    ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    return affine[:3, :3] @ np.mean(ends, axis=1) + affine[:3, 3]


def _labels(
    before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode, grid: ImageVolume
) -> tuple[LabelVolume | None, LabelVolume | None]:
    """The label maps of both CTs on the grid; the other's where one has none."""
    found = []
    for node in (before, after):
        labels = None
        if node.GetNodeReference(LABELS_REFERENCE) is not None:
            labels = inOrderOf(readLabelmap(node), grid)
        found.append(labels if labels is not None and labels.same_grid(grid) else None)
    return found[0] or found[1], found[1] or found[0]


def _samples(
    old: ImageVolume, new: ImageVolume, oldLabels: LabelVolume | None, newLabels: LabelVolume | None
) -> dict[int, tuple[Sample | None, Sample | None]]:
    if newLabels is None:
        return {}
    milliliters = abs(np.linalg.det(new.affine[:3, :3])) / 1000
    before, after = (_sample(*pair, milliliters) for pair in ((old, oldLabels), (new, newLabels)))
    changed, moved = oldLabels.array != newLabels.array, np.zeros(256, bool)
    for labels in (oldLabels, newLabels):
        moved[labels.array[changed]] = True
    shown = set(np.flatnonzero(moved).tolist())
    present = {*before, *after}
    lesions = present & set(LESIONS)
    hosts = {host for lesion in lesions for host in LABELS[lesion].hosts}
    order = [*sorted(lesions), *sorted(present & (hosts | shown) - lesions - {0})]
    return {label: (before.get(label), after.get(label)) for label in order}


def _sample(image: ImageVolume, labels: LabelVolume, milliliters: float) -> dict[int, Sample]:
    """Every label that is there."""
    sums = np.zeros((3, 256))  # of ones, values, squares
    for start in range(0, labels.shape[2], SLAB):
        ids, values = (volume.array[:, :, start : start + SLAB].ravel(order="F") for volume in (labels, image))
        values = values.astype(np.float64)
        sums += [np.bincount(ids, weights, 256) for weights in (None, values, values**2)]
    samples = {}
    for label in np.flatnonzero(sums[0]).tolist():
        count, total, squares = sums[:, label]
        mean = total / count
        deviation = np.sqrt(max(squares / count - mean**2, 0))
        samples[label] = Sample(float(count * milliliters), float(mean), float(deviation))
    return samples
