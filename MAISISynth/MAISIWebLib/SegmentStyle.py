"""How segments are drawn: lesions stand out, organs recede, the body is hidden until it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import slicer

from maisi.labels import BODY, LESIONS
from MAISISynthLib.LabelMapping import mapSegments

ORGAN_OUTLINE, ORGAN_SURFACE, FILL = 0.8, 0.25, 0.45  # opacity


def styleSegments(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIds: set[str] | None = None) -> None:
    """Give segments (None: all) their first look."""
    display = segmentationNode.GetDisplayNode()
    for segmentId, label in mapSegments(segmentationNode).ids.items():
        if segmentIds is None or segmentId in segmentIds:
            isLesion = label in LESIONS
            display.SetSegmentOpacity2DOutline(segmentId, 1.0 if isLesion else ORGAN_OUTLINE)
            display.SetSegmentOpacity2DFill(segmentId, FILL)
            display.SetSegmentOpacity3D(segmentId, 1.0 if isLesion else ORGAN_SURFACE)
            display.SetSegmentVisibility(segmentId, label != BODY)


@contextmanager
def keptStyle(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Iterator[None]:
    """Within it segments may be replaced, as undo does, which resets their look; those that come back get it back."""
    display, segmentation = segmentationNode.GetDisplayNode(), segmentationNode.GetSegmentation()
    properties = ("Visibility", "Opacity2DOutline", "Opacity2DFill", "Opacity3D")
    kept = {
        segmentId: [getattr(display, f"GetSegment{name}")(segmentId) for name in properties]
        for segmentId in segmentation.GetSegmentIDs()
    }
    yield
    present = set(segmentation.GetSegmentIDs())
    for segmentId in present & set(kept):
        for name, value in zip(properties, kept[segmentId], strict=True):
            getattr(display, f"SetSegment{name}")(segmentId, value)
    styleSegments(segmentationNode, present - set(kept))
