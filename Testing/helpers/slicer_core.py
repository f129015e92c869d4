"""Small things that tests do with a MRML scene."""

from __future__ import annotations

import numpy as np
import slicer


def addVolume(array: np.ndarray, affine: np.ndarray, name: str = "CT") -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node from an ``[I, J, K]`` array."""
    return slicer.util.addVolumeFromArray(array.transpose(2, 1, 0), ijkToRAS=affine, name=name)


def addSegmentation(grid: slicer.vtkMRMLScalarVolumeNode, name: str = "Case") -> slicer.vtkMRMLSegmentationNode:
    """An empty segmentation with the geometry of a volume."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(grid)
    return node


def addSegment(
    segmentation: slicer.vtkMRMLSegmentationNode, mask: np.ndarray, grid: slicer.vtkMRMLScalarVolumeNode, name: str
) -> str:
    """A segment from an ``[I, J, K]`` mask, on a layer of its own; its ID says nothing about what it is."""
    segmentId = segmentation.GetSegmentation().AddEmptySegment("", name)
    array = mask.astype(np.uint8).transpose(2, 1, 0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segmentId, grid)
    return segmentId
