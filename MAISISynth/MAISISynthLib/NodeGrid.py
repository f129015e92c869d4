"""Where the voxels of a node are in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from maisi.errors import InputError
from MAISILib.Translate import _

BINARY_LABELMAP = "Binary labelmap"  # Slicer's name of the representation


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a node.

    Attributes:
        shape: voxels along I, J, K.
        localAffine: ``[4, 4]`` voxel index -> RAS mm before the parent transform.
        worldAffine: the same with the (linear) parent transform: the patient as it is shown.
        transformId: ID of the parent transform node, or None.
    """

    shape: tuple[int, int, int]
    localAffine: np.ndarray
    worldAffine: np.ndarray
    transformId: str | None = None

    @property
    def spacing(self) -> np.ndarray:
        """``[3]`` voxel size in mm."""
        return np.linalg.norm(self.worldAffine[:3, :3], axis=0)


def segmentationGrid(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Grid:
    """The reference geometry of the segmentation; without one, the smallest grid that holds all its labelmaps.

    Raises:
        InputError: there is no grid, or the parent transform is not linear.
    """
    segmentation = segmentationNode.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    geometry = segmentation.GetConversionParameter(name)
    if not geometry and segmentation.ContainsRepresentation(BINARY_LABELMAP):
        geometry = segmentation.DetermineCommonLabelmapGeometry(segmentation.EXTENT_UNION_OF_SEGMENTS, None)
    image = slicer.vtkOrientedImageData()
    if not geometry or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, False):
        raise InputError(
            _("'{name}' has no voxel grid: choose a source volume for it in the Segment Editor.").format(
                name=segmentationNode.GetName()
            )
        )
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    low = np.array(image.GetExtent()[::2])
    affine[:3, 3] += affine[:3, :3] @ low  # MRML extents need not start at 0
    return _placedGrid(segmentationNode, image.GetDimensions(), affine)


def volumeGrid(volumeNode: slicer.vtkMRMLVolumeNode) -> Grid:
    """The grid of a volume node. Raises InputError: it has no voxels, or its parent transform is not linear."""
    if volumeNode.GetImageData() is None:
        raise InputError(_("'{name}' holds no image.").format(name=volumeNode.GetName()))
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return _placedGrid(volumeNode, volumeNode.GetImageData().GetDimensions(), slicer.util.arrayFromVTKMatrix(matrix))


def _placedGrid(node: slicer.vtkMRMLTransformableNode, shape: tuple[int, int, int], affine: np.ndarray) -> Grid:
    """The grid with the node's parent transform."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return Grid(tuple(shape), affine, affine)
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            _("'{name}' is under a warping transform: harden it first (Transforms module).").format(name=node.GetName())
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return Grid(tuple(shape), affine, slicer.util.arrayFromVTKMatrix(matrix) @ affine, transform.GetID())
