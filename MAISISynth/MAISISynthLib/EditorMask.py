"""Which voxels the Segment Editor's masks let an edit change, in a small box; the rules are those of the editor."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import slicer

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.NodeGrid import Grid, volumeGrid


class EditorMask:
    """The masking options of a ``vtkMRMLSegmentEditorNode``; without one everything may change, nothing is taken."""

    def __init__(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode, editorNode: slicer.vtkMRMLSegmentEditorNode | None
    ) -> None:
        self._segmentationNode = segmentationNode
        self._editor = editorNode

    def editable(self, segments: Mapping[str, np.ndarray], box: tuple[slice, ...], grid: Grid) -> np.ndarray:
        """bool ``[I, J, K]``: where the editor allows a change.

        Args:
            segments: segment ID -> voxels in the box, without the segment that is edited, of all that have any there.
            box: place in the ``grid`` of the segmentation.

        Raises:
            InputError: the segment to stay inside is gone, or the source volume lies on another grid.
        """
        shape = tuple(s.stop - s.start for s in box)
        if self._editor is None:
            return np.ones(shape, bool)
        return self._inMaskedSegments(segments, shape) & self._inIntensityRange(box, grid, shape)

    def overwritable(self, segmentIds: Collection[str]) -> set[str]:
        """Those of the segments from which the editor takes voxels that another segment gets."""
        node = slicer.vtkMRMLSegmentEditorNode
        mode = node.OverwriteNone if self._editor is None else self._editor.GetOverwriteMode()
        if mode == node.OverwriteNone:
            return set()
        return set(segmentIds) & self._visible() if mode == node.OverwriteVisibleSegments else set(segmentIds)

    def _inMaskedSegments(self, segments: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        mode, modes = self._editor.GetMaskMode(), slicer.vtkMRMLSegmentationNode
        if mode == modes.EditAllowedEverywhere:
            return np.ones(shape, bool)
        if mode == modes.EditAllowedInsideSingleSegment:
            wanted = {self._editor.GetMaskSegmentID()}
            if self._segmentationNode.GetSegmentation().GetSegment(*wanted) is None:
                raise InputError(_("The segment of the editor's masking is gone: choose an editable area again."))
        elif mode in (modes.EditAllowedInsideVisibleSegments, modes.EditAllowedOutsideVisibleSegments):
            wanted = self._visible()
        else:
            wanted = set(segments)
        union = np.zeros(shape, bool)
        for segmentId in wanted & set(segments):
            union |= segments[segmentId]
        outside = mode in (modes.EditAllowedOutsideAllSegments, modes.EditAllowedOutsideVisibleSegments)
        return ~union if outside else union

    def _visible(self) -> set[str]:
        display = self._segmentationNode.GetDisplayNode()
        segmentIds = self._segmentationNode.GetSegmentation().GetSegmentIDs()
        return {s for s in segmentIds if display is None or display.GetSegmentVisibility(s)}

    def _inIntensityRange(self, box: tuple[slice, ...], grid: Grid, shape: tuple[int, ...]) -> np.ndarray:
        volume = self._editor.GetSourceVolumeNode()
        if not self._editor.GetSourceVolumeIntensityMask() or volume is None:
            return np.ones(shape, bool)
        place = volumeGrid(volume)
        if place.shape != grid.shape or not np.allclose(place.worldAffine, grid.worldAffine, atol=1e-3):
            raise InputError(
                _("'{name}' is not on the grid of the segmentation: switch the editor's intensity range off.").format(
                    name=volume.GetName()
                )
            )
        values = slicer.util.arrayFromVolume(volume).transpose(2, 1, 0)[box]
        low, high = self._editor.GetSourceVolumeIntensityMaskRange()
        return (values >= low) & (values <= high)
