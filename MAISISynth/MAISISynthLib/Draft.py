"""The CT of an automatic run, which the next one may replace as long as nobody has made it theirs."""

from __future__ import annotations

from typing import Any

import slicer

from MAISISynthLib.SceneIO import BEFORE_REFERENCE, LABELS_REFERENCE


class Draft:
    """Knows in which state an automatic run left its CT."""

    def __init__(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        self.volumeNode = volumeNode
        self._left = self._state()

    @property
    def untouched(self) -> bool:
        """Whether it is in the scene as the run left it: not renamed, saved, moved or changed, nor used for another."""
        return self._state() == self._left

    def _state(self) -> tuple[Any, ...]:
        node, labels = self.volumeNode, self.volumeNode.GetNodeReference(LABELS_REFERENCE)
        images = [each and each.GetImageData() for each in (node, labels)]
        return (
            node.GetScene(),
            node.GetName(),
            node.GetStorageNodeID(),
            node.GetTransformNodeID(),
            *(image and image.GetMTime() for image in images),
            self._isUsed(),
        )

    def _isUsed(self) -> bool:
        """Whether another CT is a change of it."""
        if (scene := self.volumeNode.GetScene()) is None:
            return False
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
        return any(volume.GetNodeReference(BEFORE_REFERENCE) is self.volumeNode for volume in volumes)
