"""Small things that tests do with a MRML scene. Importing this skips the test file where there is no slicer-core."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")


def addVolume(array: np.ndarray, affine: np.ndarray, name: str = "CT") -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node from an ``[I, J, K]`` array."""
    return slicer.util.addVolumeFromArray(array.transpose(2, 1, 0), ijkToRAS=affine, name=name)


def addSegmentation(grid: slicer.vtkMRMLScalarVolumeNode | None, name: str = "Case") -> slicer.vtkMRMLSegmentationNode:
    """An empty segmentation, with the geometry of a volume if one is given."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    if grid is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(grid)
    return node


def addSegment(
    segmentation: slicer.vtkMRMLSegmentationNode, mask: np.ndarray, grid: slicer.vtkMRMLScalarVolumeNode, name: str
) -> str:
    """A segment from an ``[I, J, K]`` mask, on a layer of its own; its ID says nothing about what it is."""
    segmentId = segmentation.GetSegmentation().AddEmptySegment("", name)
    setSegment(segmentation, segmentId, mask, grid)
    return segmentId


def setSegment(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    mask: np.ndarray,
    grid: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    """Replace a segment's voxels by an ``[I, J, K]`` mask."""
    array = mask.astype(np.uint8).transpose(2, 1, 0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segmentId, grid)


def segmentNamed(segmentation: slicer.vtkMRMLSegmentationNode, name: str) -> str:
    """The ID of a segment."""
    return segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)


def contents(scene: slicer.vtkMRMLScene) -> dict[str, int]:
    """Node ID -> modification time of everything that a user sees: volumes, segmentations, transforms."""
    classes = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTransformNode")
    nodes = [node for name in classes for node in slicer.util.getNodesByClass(name, scene)]
    return {node.GetID(): node.GetMTime() for node in nodes}
