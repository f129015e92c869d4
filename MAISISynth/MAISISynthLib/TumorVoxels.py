"""What an edit of a tumor changes in the voxels: clipped to its organs and to the editor's masks, and healed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import slicer
from scipy import ndimage

from maisi.errors import InputError
from maisi.labels import BODY, INSIDE_ORGANS, LABELS, LESIONS
from maisi.masks.lesion import Lesion
from MAISILib.Translate import _
from MAISISynthLib.EditorMask import EditorMask
from MAISISynthLib.LabelMapping import labelOf
from MAISISynthLib.NodeGrid import BINARY_LABELMAP
from MAISISynthLib.SegmentVoxels import Box, SegmentVoxels

_MARGIN = 2  # voxels around an edit in which the organ beside it is found


@dataclass(frozen=True)
class TumorChange:
    """Decided but not yet written: everything in ``box``.

    Attributes:
        mask: the tumor afterwards, all of it. healed: segment ID -> voxels that return to this organ.
        taken: segment ID -> voxels that this organ gives up.
    """

    box: Box
    mask: np.ndarray
    healed: Mapping[str, np.ndarray] = field(default_factory=dict)
    taken: Mapping[str, np.ndarray] = field(default_factory=dict)


class TumorVoxels:
    """The voxels of one segmentation node, for the length of one act.

    Raises:
        InputError: see ``SegmentVoxels``; or the node's transform scales or shears.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None,
    ) -> None:
        self._segmentation = segmentationNode.GetSegmentation()
        self._voxels = SegmentVoxels(segmentationNode)
        self._mask = EditorMask(segmentationNode, segmentEditorNode)
        self.grid = self._voxels.grid
        place = self.grid.worldAffine @ np.linalg.inv(self.grid.localAffine)
        self._toWorld = place if self.grid.transformId else np.eye(4)  # without rounding
        if not np.allclose(self._toWorld[:3, :3].T @ self._toWorld[:3, :3], np.eye(3), atol=1e-4):
            text = _("'{name}' is under a transform that changes sizes: harden it first (Transforms module).")
            raise InputError(text.format(name=segmentationNode.GetName()))

    # ---- reading

    def mask(self, segmentId: str) -> tuple[np.ndarray, Box]:
        """The voxels of a segment in the smallest box that holds them."""
        box = self._voxels.occupied(segmentId)
        return self._voxels.read(segmentId, box), box

    def index(self, positionRas: Sequence[float]) -> list[int] | None:
        """The voxel at a place in RAS mm, or None outside the grid."""
        inverse = np.linalg.inv(self.grid.worldAffine)
        index = np.floor(inverse[:3, :3] @ positionRas + inverse[:3, 3] + 0.5).astype(int)
        return None if (index < 0).any() or (index >= self.grid.shape).any() else index.tolist()

    def organsAt(self, positionRas: Sequence[float], besides: str = "") -> list[int]:
        """MAISI ids of the recognized segments at a place, but ``besides``; none outside the grid.

        Where there is a tumor, only its id: its organ may be whole beneath it.
        """
        there = [label for segmentId, label in self._at(positionRas).items() if segmentId != besides]
        return [label for label in there if label in LESIONS] or [label for label in there if label is not None]

    def tumorAt(self, positionRas: Sequence[float]) -> str | None:
        """The segment ID of the tumor at a place, or None."""
        return next((s for s, label in self._at(positionRas).items() if label in LESIONS), None)

    def _at(self, positionRas: Sequence[float]) -> dict[str, int | None]:
        index = self.index(positionRas)
        return {} if index is None else self._labels(self._voxels.readAll(tuple(slice(i, i + 1) for i in index)))

    def countWithoutHost(self, lesion: Lesion) -> int:
        """How many voxels the lesion would have if nothing cut it off, the end of the image aside."""
        return int(np.count_nonzero(lesion.rasterize_box(self.grid.shape, self.grid.worldAffine)[0]))

    def countInHost(self, lesion: Lesion) -> int:
        """How many voxels a new tumor like this would get; 0 where it cannot be."""
        try:
            return int(np.count_nonzero(self.plan(lesion).mask))
        except InputError:
            return 0

    def toLocal(self, lesion: Lesion) -> Lesion:
        """From RAS to the coordinates before the node's transform, so that a tag moves with its node."""
        return _transformed(lesion, np.linalg.inv(self._toWorld))

    def toWorld(self, lesion: Lesion) -> Lesion:
        """From the coordinates before the node's transform to RAS."""
        return _transformed(lesion, self._toWorld)

    # ---- deciding

    def plan(self, lesion: Lesion, segmentId: str | None = None) -> TumorChange:
        """What becoming ``lesion`` changes. The scene stays as it is.

        Raises:
            InputError: there is no organ for it, nothing of it would be left, or nothing of the organ.
        """
        raster, place = lesion.rasterize_box(self.grid.shape, self.grid.worldAffine)
        box = self._around(place, *([self._voxels.occupied(segmentId)] if segmentId else []))
        segments = self._voxels.readAll(box)
        old = segments.pop(segmentId, np.zeros([s.stop - s.start for s in box], bool))
        labels = self._labels(segments)
        former = labelOf(self._segmentation.GetSegment(segmentId)) if segmentId else lesion.label
        healed = self._healing(old, segments, labels, LABELS[former].hosts)
        whole = {s: segments[s] | healed[s] if s in healed else segments[s] for s in segments}

        hosts = [s for s in whole if labels[s] in LABELS[lesion.label].hosts]
        organ = _union([whole[s] for s in hosts], old.shape)
        others = _union([whole[s] for s in whole if labels[s] in LESIONS], old.shape)
        editable = self._mask.editable(whole, box, self.grid)
        wanted = np.zeros(old.shape, bool)
        wanted[tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(place, box, strict=True))] = raster
        mask = (wanted & organ & ~others & editable) | (old & ~editable)
        self._check(lesion, mask, wanted)
        if hosts and not (organ & ~others & ~mask).any() and not self._hostElsewhere(lesion.label, box):
            text = _("The {tumor} is larger than its {organ}: choose a smaller radius.")
            organName = LABELS[labels[hosts[0]]].name
            raise InputError(text.format(tumor=LABELS[lesion.label].name, organ=organName))
        return TumorChange(
            box,
            mask,
            healed={s: left for s in healed if (left := healed[s] & ~mask).any()},
            taken={s: given for s in self._mask.overwritable(hosts) if (given := segments[s] & mask).any()},
        )

    def _healing(
        self,
        old: np.ndarray,
        segments: Mapping[str, np.ndarray],
        labels: Mapping[str, int | None],
        hostLabels: Sequence[int],
    ) -> dict[str, np.ndarray]:
        """Segment ID -> those voxels of a tumor that belong to this organ when the tumor is gone.

        Each hole beneath the tumor goes to the nearest organ that is a host of it. Where another organ already is, or a
        host is whole beneath the tumor, there is none. Vessels, cysts and the body outline are no organs in this sense,
        unless they share a layer with a host, which then had none of their voxels.
        """
        hosts = [s for s in segments if labels[s] in hostLabels]
        throughout, apart = (None, BODY, *INSIDE_ORGANS, *LESIONS), self._voxels.sharing(hosts)
        taken = [mask for s, mask in segments.items() if labels[s] not in throughout or s in apart]
        hole = old & ~_union(taken, old.shape)
        if not hole.any() or not hosts:
            return {}
        if len(hosts) == 1:
            return {hosts[0]: hole}
        owner = np.zeros(old.shape, np.int16)
        for number, segmentId in enumerate(hosts, start=1):
            owner[segments[segmentId]] = number
        nearest = ndimage.distance_transform_edt(
            owner == 0, self.grid.spacing, return_distances=False, return_indices=True
        )
        owner = np.where(hole, owner[tuple(nearest)], 0)
        return {s: owner == number for number, s in enumerate(hosts, start=1) if (owner == number).any()}

    def _check(self, lesion: Lesion, mask: np.ndarray, wanted: np.ndarray) -> None:
        """Raise an InputError if the tumor would have no voxel."""
        if mask.any():
            return
        name, hosts = LABELS[lesion.label].name, [LABELS[host].name for host in LABELS[lesion.label].hosts]
        if not wanted.any() and self.index(lesion.center) is not None:
            raise InputError(_("The {tumor} is smaller than a voxel: choose a larger radius.").format(tumor=name))
        text = _(
            "Nothing of the {tumor} would be left: it must lie in its organ ({organs}), clear of other tumors, and "
            "where the editor's masking allows changes."
        )
        organs = ", ".join(hosts[:5]) + (", ..." if len(hosts) > 5 else "")
        raise InputError(text.format(tumor=name, organs=organs))

    def _hostElsewhere(self, lesionLabel: int, box: Box) -> bool:
        """Whether its organs have voxels besides those in the box."""
        for segmentId in self._segmentation.GetSegmentIDs():
            if labelOf(self._segmentation.GetSegment(segmentId)) in LABELS[lesionLabel].hosts:
                found = self._voxels.occupied(segmentId)
                if any(f.start < b.start or f.stop > b.stop for f, b in zip(found, box, strict=True) if f.stop):
                    return True
        return False

    def _around(self, *places: Box) -> Box:
        """A box around those of the places that are not empty, with a margin, within the grid."""
        filled = [place for place in places if all(s.stop > s.start for s in place)]
        if not filled:
            return tuple(slice(0, 1) for _axis in range(3))
        bounds = np.array([[(s.start, s.stop) for s in place] for place in filled])
        low, high = bounds[..., 0].min(axis=0) - _MARGIN, bounds[..., 1].max(axis=0) + _MARGIN
        low, high = low.clip(0).tolist(), high.clip(max=self.grid.shape).tolist()
        return tuple(slice(a, b) for a, b in zip(low, high, strict=True))

    def _labels(self, segmentIds: Mapping[str, np.ndarray]) -> dict[str, int | None]:
        return {s: labelOf(self._segmentation.GetSegment(s)) for s in segmentIds}

    def planRemoval(self, segmentId: str) -> TumorChange:
        """What taking all voxels of a tumor and giving them to its organs changes. The scene stays as it is."""
        box = self._around(self._voxels.occupied(segmentId))
        segments = self._voxels.readAll(box)
        old = segments.pop(segmentId, np.zeros([s.stop - s.start for s in box], bool))
        hosts = LABELS[labelOf(self._segmentation.GetSegment(segmentId))].hosts
        return TumorChange(box, np.zeros_like(old), self._healing(old, segments, self._labels(segments), hosts))

    # ---- writing

    def separate(self, change: TumorChange, segmentId: str | None = None) -> None:
        """Give all that the change will write to small layers; call it before the state to return to is saved."""
        for written in filter(None, (segmentId, *change.healed, *change.taken)):
            self._voxels.separate(written)

    def add(self, segment: slicer.vtkSegment, change: TumorChange) -> str:
        """Add a described segment with the voxels of the change, on a layer of its own; returns its ID."""
        segment.AddRepresentation(BINARY_LABELMAP, self._voxels.image(change.mask, change.box))
        self._segmentation.AddSegment(segment)
        self._writeOrgans(change)
        return self._segmentation.GetSegmentIdBySegment(segment)

    def write(self, segmentId: str, change: TumorChange) -> None:
        """Change a segment and the organs around it."""
        self._voxels.replace(segmentId, change.mask, change.box)
        self._writeOrgans(change)

    def _writeOrgans(self, change: TumorChange) -> None:
        for segmentId, voxels in change.healed.items():
            self._voxels.fill(segmentId, voxels, change.box)
        for segmentId, voxels in change.taken.items():
            self._voxels.erase(segmentId, voxels, change.box)


def _union(masks: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    result = np.zeros(shape, bool)
    for mask in masks:
        result |= mask
    return result


def _transformed(lesion: Lesion, matrix: np.ndarray) -> Lesion:
    turn = matrix[:3, :3]
    return replace(lesion, center=tuple(turn @ lesion.center + matrix[:3, 3]), rotation=turn @ lesion.rotation)
