"""Tells that a segmentation was edited, once the edits pause."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.util import VTKObservationMixin

MILLISECONDS = 500  # one stroke gives up to five events; undo and redo only the last of these kinds


class EditPump(VTKObservationMixin):
    """Watches one segmentation at a time."""

    def __init__(self, edited: Callable[[], None]) -> None:
        """``edited`` is called once for each burst of edits."""
        VTKObservationMixin.__init__(self)
        self._watched: slicer.vtkMRMLSegmentationNode | None = None
        self._timer = qt.QTimer()
        self._timer.interval = MILLISECONDS
        self._timer.singleShot = True
        self._timer.connect("timeout()", edited)

    def watch(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Watch this segmentation instead; None: no more."""
        if segmentationNode is self._watched:
            return
        self.removeObservers()
        self._timer.stop()
        self._watched = segmentationNode
        if segmentationNode is not None:
            for event in (
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
                slicer.vtkSegmentation.SourceRepresentationModified,
            ):
                self.addObserver(segmentationNode, event, self._onEdited)

    def _onEdited(self, _caller: slicer.vtkMRMLNode, _event: str) -> None:
        self._timer.start()
