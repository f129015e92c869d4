"""Which MAISI label each segment means: by our own tag, by its terminology, by its name."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer
import vtk

from maisi.labels import BACKGROUND, BODY, LABELS, LESIONS, find_label, find_terminology
from MAISILib.Translate import _

if TYPE_CHECKING:
    from collections.abc import Mapping

LESION_TAG = "MAISI.Lesion"  # segment tag of a lesion that was placed here, with its parameters as JSON
LABEL_TAG = "MAISI.Label"  # segment tag that holds the id as a number; it wins over terminology and name
TERMINOLOGY_CONTEXT = "Segmentation category and type - DICOM master list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class LabelMapping:
    """What the segments of a segmentation were understood to be.

    Attributes:
        ids: segment ID -> MAISI id, of the segments that were recognized.
        names: segment ID -> segment name, of all segments in their order.
        disagreements: sentences about segments whose name says something else than their terminology.
    """

    ids: Mapping[str, int]
    names: Mapping[str, str]
    disagreements: tuple[str, ...] = ()

    @property
    def unmapped(self) -> list[str]:
        """Names of the segments that were not recognized."""
        return [name for segmentId, name in self.names.items() if segmentId not in self.ids]

    @property
    def duplicates(self) -> dict[int, list[str]]:
        """Ids of organs (not lesions, of which there may be many) that several segments claim, with their names."""
        claims = defaultdict(list)
        for segmentId, label in self.ids.items():
            claims[label].append(self.names[segmentId])
        return {label: names for label, names in claims.items() if len(names) > 1 and label not in (*LESIONS, BODY)}

    @property
    def organs(self) -> list[str]:
        """Names of the organs, in order and once each."""
        return list(dict.fromkeys(LABELS[i].name for i in self.ids.values() if i not in (*LESIONS, BODY)))

    @property
    def lesionCount(self) -> int:
        """How many segments are lesions."""
        return sum(label in LESIONS for label in self.ids.values())

    @property
    def notices(self) -> list[str]:
        """Sentences about everything that was not plain: unmapped segments, duplicates, disagreements."""
        notices = []
        if self.unmapped:
            text = _("Not recognized and left out: {names}. Rename them, or set their terminology, to use them.")
            notices.append(text.format(names=", ".join(f"'{name}'" for name in self.unmapped)))
        for label, names in self.duplicates.items():
            text = _("The segments {names} are all taken as {label} and were united.")
            notices.append(text.format(names=", ".join(f"'{n}'" for n in names), label=LABELS[label].name))
        return [*notices, *self.disagreements]


def mapSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> LabelMapping:
    """Recognize every segment of the node."""
    segmentation = segmentationNode.GetSegmentation()
    ids, names, disagreements = {}, {}, []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        names[segmentId] = segment.GetName()
        label = labelOf(segment)
        if label is None:
            continue
        ids[segmentId] = label
        byName = find_label(segment.GetName())
        if labelByTag(segment) is None and byName not in (None, label):
            text = _("The segment '{name}' is taken as {label}, as its terminology says, not as {other}.")
            other = LABELS[byName].name
            disagreements.append(text.format(name=segment.GetName(), label=LABELS[label].name, other=other))
    return LabelMapping(ids, names, tuple(disagreements))


def placedLesions(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Segment ID -> MAISI id of the lesions that were placed with the Tumor tool."""
    segmentation = segmentationNode.GetSegmentation()
    ids = mapSegments(segmentationNode).ids
    return {segmentId: ids[segmentId] for segmentId in ids if segmentation.GetSegment(segmentId).HasTag(LESION_TAG)}


def labelOf(segment: slicer.vtkSegment) -> int | None:
    """The id of what the segment is, by its tag, else by its terminology, else by its name; None if not recognized."""
    for find in (labelByTag, labelByTerminology, lambda segment: find_label(segment.GetName())):
        label = find(segment)
        if label is not None and label != BACKGROUND:
            return label
    return None


def labelByTag(segment: slicer.vtkSegment) -> int | None:
    """The id that the segment's own ``MAISI.Label`` tag gives; None without one or when it is no known id."""
    value = vtk.mutable("")
    if not segment.GetTag(LABEL_TAG, value) or not str(value).strip().isdecimal():
        return None
    label = int(str(value))
    return label if label in LABELS and not LABELS[label].unused else None


def labelByTerminology(segment: slicer.vtkSegment) -> int | None:
    """The id that the segment's terminology means, or None: Slicer's default for new segments is plain "Tissue"."""
    entry = slicer.vtkSlicerTerminologyEntry()
    if not slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(segment.GetTerminology(), entry):
        return None
    parts = (
        entry.GetCategoryObject(),
        entry.GetTypeObject(),
        entry.GetTypeModifierObject(),
        entry.GetRegionObject(),
        entry.GetRegionModifierObject(),
    )
    return find_terminology(*((part.GetCodeValue() or "") if part else "" for part in parts))


def describeSegment(segment: slicer.vtkSegment, label: int) -> None:
    """Give a segment the name, color, terminology and tag of a MAISI label."""
    scheme, terms = "SCT", LABELS[label].terminology
    codes = [[code.value, scheme if code.value else "", code.meaning] for code in terms]
    segment.SetName(LABELS[label].name)
    segment.SetColor(*(channel / 255 for channel in LABELS[label].color))
    segment.SetTag(LABEL_TAG, str(label))
    segment.SetTerminology(
        slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
            TERMINOLOGY_CONTEXT, *codes[0], *codes[1], *codes[2], REGION_CONTEXT, *codes[3], *codes[4]
        )
    )
