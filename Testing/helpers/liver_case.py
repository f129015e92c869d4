"""A small abdomen as a segmentation, and everything of its segments that a user sees. Skips without slicer-core."""

from __future__ import annotations

import numpy as np
import vtk

from helpers.grids import anOblique
from helpers.slicer_core import slicer
from maisi.labels import find_label
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SegmentVoxels import SegmentVoxels
from MAISISynthLib.TumorTags import LESION_TAG

LIVER, TUMOR, SPLEEN, KIDNEY, VESSEL = map(
    find_label, ("liver", "hepatic tumor", "spleen", "left kidney", "hepatic vessel")
)
SHAPE = (40, 36, 28)
AFFINE = anOblique(spacing=(1.5, 1.5, 2.0))


def ras(*index: float) -> tuple[float, ...]:
    """RAS mm of a voxel."""
    return tuple(AFFINE[:3, :3] @ index + AFFINE[:3, 3])


def anatomy() -> np.ndarray:
    """Liver, spleen and kidney."""
    array = np.zeros(SHAPE, np.uint8)
    array[2:24, 3:30, 3:25] = LIVER
    array[26:38, 3:16, 3:25] = SPLEEN
    array[26:38, 18:33, 3:25] = KIDNEY
    return array


def masks(node: slicer.vtkMRMLSegmentationNode) -> dict[str, np.ndarray]:
    """Segment ID -> all its voxels."""
    voxels = SegmentVoxels(node)
    return {s: voxels.read(s, tuple(slice(0, n) for n in SHAPE)) for s in node.GetSegmentation().GetSegmentIDs()}


def state(node: slicer.vtkMRMLSegmentationNode) -> dict[str, tuple]:
    """Segment ID -> name, color, lesion tag, voxels."""
    segmentation, described = node.GetSegmentation(), {}
    for segmentId, mask in masks(node).items():
        segment, tag = segmentation.GetSegment(segmentId), vtk.mutable("")
        segment.GetTag(LESION_TAG, tag)
        described[segmentId] = (segment.GetName(), segment.GetColor(), str(tag), mask.tobytes())
    return described


def ofLabel(node: slicer.vtkMRMLSegmentationNode, label: int) -> str:
    """The ID of the first segment of this label."""
    return next(s for s, found in mapSegments(node).ids.items() if found == label)
