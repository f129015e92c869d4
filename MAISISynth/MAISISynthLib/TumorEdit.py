"""Tumors of a segmentation, edited by their parameters: placed, grown, moved, reshaped, removed, undone. No Qt.

    tumors = TumorEdit(segmentationNode)
    segmentId = tumors.place((40, -20, 110), radius=12)      # RAS mm; the organ there decides what tumor it is
    tumors.grow(segmentId, 3)
    tumors.move(segmentId, (8, 0, 0))
    tumors.undo()

A tumor stays inside the organs it grows in. Where it leaves, the organ returns, so an edit never makes a hole. Each act
is one state to undo. The parameters are kept in a tag of the segment and are found again in a saved scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import slicer

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS, TUMORS
from maisi.masks.lesion import Lesion
from maisi.masks.lesion_fit import fit_lesion
from maisi.masks.measure import largest_diameter_mm, volume_ml
from maisi.masks.sphere import directions
from MAISILib.Translate import _
from MAISISynthLib.LabelMapping import describeSegment, labelOf
from MAISISynthLib.TumorTags import readLesion, writeLesion
from MAISISynthLib.TumorVoxels import TumorVoxels

KIND_IN = {host: lesion for lesion in TUMORS for host in LABELS[lesion].hosts}  # organ -> the tumor that grows in it
MAX_UNDO = 10

Vector = Sequence[float]


@dataclass(frozen=True)
class TumorMeasure:
    """Volume in ml, largest diameter in mm, and the part (0 to 1) of the lesion that its host or a mask cuts off."""

    volumeMl: float
    diameterMm: float
    clipped: float


class TumorEdit:
    """The tumors of one segmentation node.

    Args:
        segmentEditorNode: the masks and the overwrite mode of the Segment Editor, which are then obeyed. Without one
            everything may change, and organs stay whole beneath tumors.
        saveState: stores a state in the history of an editor widget, which then undoes. Without it, this object has a
            history of its own for ``undo`` and ``redo``.

    Everything raises InputError, always before anything is changed: there is no segmentation or it was deleted, it has
    no grid, the segment is unknown or no tumor, there is no host organ, or nothing of the tumor would be left.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
        saveState: Callable[[], None] | None = None,
    ) -> None:
        if segmentationNode is None:
            raise InputError(_("Choose a segmentation first."))
        self._node = segmentationNode
        self._editorNode = segmentEditorNode
        self._saveState = saveState
        self._history: slicer.vtkSegmentationHistory | None = None
        if saveState is None:
            self._history = slicer.vtkSegmentationHistory()
            self._history.SetMaximumNumberOfStates(MAX_UNDO)
            self._history.SetSegmentation(segmentationNode.GetSegmentation())
            self._saveState = self._history.SaveState

    # ---- looking

    def lesions(self) -> dict[str, Lesion]:
        """Segment ID -> lesion, of all segments that are tumors and have voxels."""
        voxels, segmentation = self._voxels(), self._node.GetSegmentation()
        tumors = [s for s in segmentation.GetSegmentIDs() if labelOf(segmentation.GetSegment(s)) in LESIONS]
        return {s: self._lesion(voxels, s) for s in tumors if voxels.mask(s)[0].any()}

    def lesion(self, segmentId: str) -> Lesion:
        """The parameters of a tumor in RAS mm: those it was made from, or those that fit best what was painted."""
        self._segment(segmentId)
        return self._lesion(self._voxels(), segmentId)

    def measure(self, segmentId: str) -> TumorMeasure:
        """What is there now, measured on the voxels."""
        self._segment(segmentId)
        voxels = self._voxels()
        mask, _box = voxels.mask(segmentId)
        wanted = voxels.countWithoutHost(self._lesion(voxels, segmentId))
        affine = voxels.grid.worldAffine
        clipped = max(0.0, 1 - float(np.count_nonzero(mask)) / max(wanted, 1))
        return TumorMeasure(volume_ml(mask, affine), largest_diameter_mm(mask, affine), clipped)

    def tumorAt(self, positionRas: Vector) -> str | None:
        """The segment ID of the tumor at a place in RAS mm, or None."""
        return self._voxels().tumorAt(positionRas)

    def kindAt(self, positionRas: Vector, label: int | None = None) -> int:
        """The MAISI id of the tumor that grows at a place, or ``label`` if that one grows there.

        Raises:
            InputError: no tumor, or not this one, grows there.
        """
        return self._kindAt(self._voxels(), positionRas, label)

    def growsAt(self, positionRas: Vector) -> bool:
        """Whether at a place there is a tumor, or an organ in which one grows."""
        return bool(set(self._voxels().organsAt(positionRas)) & {*KIND_IN, *LESIONS})

    # ---- acts

    def place(self, positionRas: Vector, radius: float, label: int | None = None, **shape: float) -> str:
        """A new tumor, of the kind that grows in the organ at ``positionRas`` (mm); returns its segment ID.

        Args:
            radius: mm. label: MAISI id of another kind that grows there, such as a cyst.
            shape: further parameters of ``Lesion``: lobulation, seed, spiculation.
        """
        return self.add(Lesion(self.kindAt(positionRas, label), tuple(positionRas), (radius,) * 3, **shape))

    def add(self, lesion: Lesion) -> str:
        """A new tumor with all its parameters given; returns its segment ID."""
        voxels = self._voxels()
        change = voxels.plan(lesion)
        voxels.separate(change)
        self._saveState()
        with slicer.util.NodeModify(self._node):
            segment = slicer.vtkSegment()
            describeSegment(segment, lesion.label)
            segment.SetName(self._freeName(segment.GetName()))
            segmentId = voxels.add(segment, change)
            writeLesion(segment, voxels.toLocal(lesion), change.mask)
        return segmentId

    def apply(self, segmentId: str, lesion: Lesion, byOrgan: bool = False) -> None:
        """Make a tumor what ``lesion`` says; what all the methods below do.

        Args:
            byOrgan: where the lesion's center is in another organ, make it the kind of tumor that grows there.
        """
        segment, voxels = self._segment(segmentId), self._voxels()
        if byOrgan:
            organs = set(voxels.organsAt(lesion.center, besides=segmentId))
            kinds = {KIND_IN[organ] for organ in organs if organ in KIND_IN}
            lesion = replace(lesion, label=min(kinds)) if kinds and not organs & _hosts(lesion) else lesion
        change = voxels.plan(lesion, segmentId)
        before = labelOf(segment)
        voxels.separate(change, segmentId)
        self._saveState()
        with slicer.util.NodeModify(self._node):
            voxels.write(segmentId, change)
            if lesion.label != before:
                describeSegment(segment, lesion.label)
                segment.SetName(self._freeName(segment.GetName(), segmentId))
            writeLesion(segment, voxels.toLocal(lesion), change.mask)

    def grow(self, segmentId: str, mm: float) -> None:
        """Grow in every direction; shrink if negative."""
        self.apply(segmentId, self.lesion(segmentId).grown(mm))

    def move(self, segmentId: str, vectorRas: Vector) -> None:
        """Move by a vector in mm; in another organ it becomes the kind of tumor that grows there."""
        self.apply(segmentId, self.lesion(segmentId).moved(tuple(vectorRas)), byOrgan=True)

    def rotate(self, segmentId: str, axisRas: Vector, degrees: float) -> None:
        """Turn about its center around an axis."""
        self.apply(segmentId, self.lesion(segmentId).rotated(tuple(axisRas), degrees))

    def stretch(self, segmentId: str, factors: Vector) -> None:
        """Multiply the three radii, along the tumor's own axes."""
        self.apply(segmentId, self.lesion(segmentId).stretched(tuple(factors)))

    def reshape(self, segmentId: str, seed: int, **shape: float) -> None:
        """Another shape of the same size; ``shape`` changes parameters of ``Lesion``, such as lobulation."""
        self.apply(segmentId, replace(self.lesion(segmentId).reshaped(seed), **shape))

    def duplicate(self, segmentId: str, vectorRas: Vector | None = None) -> str:
        """A copy moved by a vector in mm, or to where most of it fits beside the first; returns its segment ID."""
        lesion = self.lesion(segmentId)
        if vectorRas is not None:
            return self.add(lesion.moved(tuple(vectorRas)))
        voxels = self._voxels()
        distance = 1.1 * self.measure(segmentId).diameterMm
        copies = [lesion.moved(tuple(distance * towards)) for towards in directions(26)]
        return self.add(max(copies, key=voxels.countInHost))

    def remove(self, segmentId: str) -> None:
        """Take a tumor away; its organ returns."""
        self._segment(segmentId)
        voxels = self._voxels()
        change = voxels.planRemoval(segmentId)
        voxels.separate(change, segmentId)
        self._saveState()
        with slicer.util.NodeModify(self._node):
            voxels.write(segmentId, change)
            self._node.GetSegmentation().RemoveSegment(segmentId)

    def undo(self) -> bool:
        """Take the last act back; False if there is none."""
        history = self._ownHistory()
        return bool(history.IsRestorePreviousStateAvailable() and history.RestorePreviousState())

    def redo(self) -> bool:
        """Do again what was undone; False if there is nothing."""
        history = self._ownHistory()
        return bool(history.IsRestoreNextStateAvailable() and history.RestoreNextState())

    def _ownHistory(self) -> slicer.vtkSegmentationHistory:
        self._requireNode()
        if self._history is None:
            raise InputError(_("These acts are undone in the Segment Editor."))
        return self._history

    # ---- checks

    def _requireNode(self) -> None:
        if self._node.GetScene() is None:
            raise InputError(_("The segmentation was deleted; choose another one."))

    def _voxels(self) -> TumorVoxels:
        self._requireNode()
        return TumorVoxels(self._node, self._editorNode)

    def _segment(self, segmentId: str) -> slicer.vtkSegment:
        self._requireNode()
        segment = self._node.GetSegmentation().GetSegment(segmentId)
        if segment is None:
            raise InputError(_("This tumor is not in the segmentation any more; choose another one."))
        if labelOf(segment) not in LESIONS:
            text = _("'{name}' is not a tumor; choose one, or place a new one.")
            raise InputError(text.format(name=segment.GetName()))
        return segment

    def _lesion(self, voxels: TumorVoxels, segmentId: str) -> Lesion:
        segment = self._node.GetSegmentation().GetSegment(segmentId)
        mask, box = voxels.mask(segmentId)
        label, stored = labelOf(segment), readLesion(segment, mask)
        if stored is not None and stored.label == label:
            return voxels.toWorld(stored)
        affine = voxels.grid.worldAffine.copy()
        affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
        return fit_lesion(mask, affine, label)

    @staticmethod
    def _kindAt(voxels: TumorVoxels, positionRas: Vector, label: int | None) -> int:
        organs = voxels.organsAt(positionRas)
        if label is not None and label not in LESIONS:
            raise InputError(_("Label {label} is not a tumor or cyst of MAISI.").format(label=label))
        kinds = {KIND_IN[organ] for organ in organs if organ in KIND_IN} if label is None else {label}
        fitting = [kind for kind in sorted(kinds) if set(LABELS[kind].hosts) & set(organs)]
        if fitting:
            return fitting[0]
        if set(organs) & set(LESIONS):
            text = _("At this place is a {there} already: grow or move it, or choose a place beside it.")
        elif label is None:
            text = _(
                "At this place is {there}: choose a place in a lung, the liver, pancreas, colon, a kidney or a bone."
            )
        else:
            text = _("At this place is {there}: a {tumor} grows in {hosts} only.")
            text = text.format(there="{there}", tumor=LABELS[label].name, hosts=_names(LABELS[label].hosts))
        raise InputError(text.format(there=_names(organs) or _("no organ")))

    def _freeName(self, name: str, segmentId: str = "") -> str:
        """``name``, with a number if another segment has it already."""
        segmentation = self._node.GetSegmentation()
        taken = {segmentation.GetSegment(s).GetName() for s in segmentation.GetSegmentIDs() if s != segmentId}
        numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
        return name if name not in taken else next(n for n in numbered if n not in taken)


def _names(labels: Sequence[int]) -> str:
    """ "liver, spleen"; long lists are cut."""
    return ", ".join(LABELS[label].name for label in labels[:6]) + (", ..." if len(labels) > 6 else "")


def _hosts(lesion: Lesion) -> set[int]:
    return set(LABELS[lesion.label].hosts)
