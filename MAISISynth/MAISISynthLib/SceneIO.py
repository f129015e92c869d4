"""Between the scene and volumes. Only this file knows that MRML arrays are K, J, I."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from maisi.errors import InputError
from maisi.labels import merge
from maisi.volume import ImageVolume, LabelVolume
from MAISILib.Translate import _
from MAISISynthLib.LabelColors import labelColors
from MAISISynthLib.LabelMapping import describeSegment
from MAISISynthLib.NodeGrid import BINARY_LABELMAP, Grid, segmentationGrid, volumeGrid

LABELS_REFERENCE = "MAISI.Labels"  # node reference: CT -> the label map it was made from
BEFORE_REFERENCE = "MAISI.Before"  # node reference: CT -> the CT that it is a change of
SYNTHETIC = "MAISI.Synthetic"  # node attribute that marks every volume made here
WINDOW, LEVEL = 400, 40  # HU, soft tissue


# ---- from the scene


def readLabels(segmentationNode: slicer.vtkMRMLSegmentationNode, ids: Mapping[str, int]) -> LabelVolume:
    """The segmentation as one label map on its own grid; the node is not changed.

    Args:
        ids: segment ID -> MAISI id; other segments are left out. Overlaps: see ``maisi.labels.merge``.

    Raises:
        InputError: no grid (see ``segmentationGrid``), no labelmap can be made, or no voxel is in any of the segments.
    """
    grid = segmentationGrid(segmentationNode)
    segmentation = _withLabelmaps(segmentationNode)
    reference = emptyImage(grid)
    layers, layerOfSegment = [], {}
    for index in range(segmentation.GetNumberOfLayers(BINARY_LABELMAP)):
        segmentIds = set(segmentation.GetSegmentIDsForLayer(index, BINARY_LABELMAP)) & set(ids)
        if segmentIds:
            layerOfSegment |= dict.fromkeys(segmentIds, len(layers))
            layers.append(resampled(segmentation.GetLayerDataObject(index, BINARY_LABELMAP), reference))
    claims = [
        (layerOfSegment[segmentId], segmentation.GetSegment(segmentId).GetLabelValue(), ids[segmentId])
        for segmentId in segmentation.GetSegmentIDs()
        if segmentId in layerOfSegment
    ]
    labels = _mergeLayers(layers, claims, grid.shape)
    if not labels.any():
        raise InputError(
            _("'{name}' is empty: draw or load at least one organ, inside the grid of the segmentation.").format(
                name=segmentationNode.GetName()
            )
        )
    return LabelVolume(labels, grid.worldAffine)


def _withLabelmaps(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkSegmentation:
    """The node's segmentation, or a copy of it with labelmaps when it has only surfaces or contours."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0 or segmentation.ContainsRepresentation(BINARY_LABELMAP):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if not copy.CreateRepresentation(BINARY_LABELMAP):
        raise InputError(
            _("'{name}' cannot be converted to a binary labelmap; see its representations in the Data module.").format(
                name=segmentationNode.GetName()
            )
        )
    return copy


def reachesOutside(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segment has voxels outside the grid of the segmentation (which ``readLabels`` has to leave out)."""
    grid, segmentation = segmentationGrid(segmentationNode), _withLabelmaps(segmentationNode)
    for index in range(segmentation.GetNumberOfLayers(BINARY_LABELMAP)):
        layer = segmentation.GetLayerDataObject(index, BINARY_LABELMAP)
        extent = [0] * 6
        if not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(layer, extent):
            continue
        matrix = vtk.vtkMatrix4x4()
        layer.GetImageToWorldMatrix(matrix)
        toGrid = np.linalg.inv(grid.localAffine) @ slicer.util.arrayFromVTKMatrix(matrix)
        corners = toGrid @ np.array(np.meshgrid(extent[:2], extent[2:4], extent[4:], [1])).reshape(4, -1)
        positions = corners[:3].round(3)
        end = np.array(grid.shape) - 0.5
        if (positions < -0.5).any() or (positions.max(axis=1) > end).any():
            return True
    return False


def emptyImage(grid: Grid) -> slicer.vtkOrientedImageData:
    """An image on the grid, before its parent transform, without voxels yet."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.localAffine))
    image.SetExtent(0, grid.shape[0] - 1, 0, grid.shape[1] - 1, 0, grid.shape[2] - 1)
    return image


def resampled(layer: slicer.vtkOrientedImageData, reference: slicer.vtkOrientedImageData) -> np.ndarray:
    """``[I, J, K]`` label values of a layer on the reference grid (nearest neighbor; 0 where the layer ends)."""
    result = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if layer.IsEmpty() or not resample(layer, reference, result, False, False):
        return np.zeros(reference.GetDimensions(), np.uint8)
    return imageArray(result)


def imageArray(image: vtk.vtkImageData) -> np.ndarray:
    """The voxels of a VTK image as ``[I, J, K]``, shared with the image; say ``image.Modified()`` after writing."""
    array = vtk_to_numpy(image.GetPointData().GetScalars())
    return array.reshape(image.GetDimensions()[::-1]).transpose(2, 1, 0)


def _mergeLayers(layers: list[np.ndarray], claims: list[tuple[int, int, int]], shape: tuple) -> np.ndarray:
    """``[I, J, K]`` uint8 ids from layers of label values.

    Segments of one layer exclude each other, so only voxels that several layers claim need to be decided.

    Args:
        claims: (index of layer, label value in it, MAISI id) of each segment, in the order of the segments.
    """
    ids, count = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for index, layer in enumerate(layers):
        table = np.zeros(int(layer.max()) + 1, np.uint8)
        for _index, value, label in (claim for claim in claims if claim[0] == index and claim[1] < table.size):
            table[value] = label
        found = table[layer]
        count += found > 0
        np.maximum(ids, found, out=ids)
    contested = count > 1
    masks = [(layers[index][contested] == value, label) for index, value, label in claims]
    ids[contested] = merge(masks, (int(contested.sum()),))
    return ids


def readImage(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> ImageVolume:
    """A copy of the volume as int16 HU.

    Raises:
        InputError: no image, a warping parent transform, or values that int16 cannot hold exactly.
    """
    grid = volumeGrid(volumeNode)
    array = slicer.util.arrayFromVolume(volumeNode)
    hu = array.astype(np.int16)
    if not np.array_equal(hu, array):
        raise InputError(
            _("'{name}' holds values that are not whole Hounsfield units: cast it to short first.").format(
                name=volumeNode.GetName()
            )
        )
    return ImageVolume(hu.transpose(2, 1, 0), grid.worldAffine)


def readValues(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> ImageVolume:
    """A copy of the volume's values as float32, whatever they are. Raises InputError: as ``volumeGrid``."""
    grid = volumeGrid(volumeNode)
    array = slicer.util.arrayFromVolume(volumeNode).astype(np.float32)
    return ImageVolume(array.transpose(2, 1, 0), grid.worldAffine)


def readLabelmap(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> LabelVolume:
    """The label map that a synthetic volume was made from. Raises InputError: there is none."""
    labelNode = volumeNode.GetNodeReference(LABELS_REFERENCE)
    if labelNode is None or labelNode.GetImageData() is None:
        raise InputError(
            _("There is no label map with '{name}' to compare with: synthesize the whole CT instead.").format(
                name=volumeNode.GetName()
            )
        )
    return readLabelNode(labelNode)


def readLabelNode(labelNode: slicer.vtkMRMLLabelMapVolumeNode) -> LabelVolume:
    """A copy of a label map of MAISI ids. Raises InputError: it holds no image."""
    grid = volumeGrid(labelNode)
    return LabelVolume(slicer.util.arrayFromVolume(labelNode).transpose(2, 1, 0).astype(np.uint8), grid.worldAffine)


# ---- to the scene


def addSynthetic(
    scene: slicer.vtkMRMLScene,
    image: ImageVolume,
    labels: LabelVolume,
    grid: Grid,
    name: str,
    attributes: Mapping[str, str],
    besides: slicer.vtkMRMLNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a CT, marked as synthetic, and under it the label map it was made from, which a later local edit needs.

    Args:
        grid: where to put both (the grid that the labels were read from).
        attributes: stored in the CT node. besides: node next to which the CT is placed in the subject hierarchy.
    """
    name = scene.GenerateUniqueName(name)
    marks = {SYNTHETIC: "1", **attributes}
    volume = addVolume(scene, "vtkMRMLScalarVolumeNode", image.array, grid, name, marks)
    labelmap = addVolume(scene, "vtkMRMLLabelMapVolumeNode", labels.array, grid, f"{name} labels")
    labelmap.GetDisplayNode().SetAndObserveColorNodeID(labelColors(scene).GetID())
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(WINDOW, LEVEL)
    volume.SetNodeReferenceID(LABELS_REFERENCE, labelmap.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    neighbor = hierarchy.GetItemByDataNode(besides) if besides is not None else 0
    parent = hierarchy.GetItemParent(neighbor) if neighbor else hierarchy.GetSceneItemID()
    _place(hierarchy, labelmap, _place(hierarchy, volume, parent))
    return volume


def replaceSynthetic(
    volume: slicer.vtkMRMLScalarVolumeNode, image: ImageVolume, labels: LabelVolume, attributes: Mapping[str, str]
) -> None:
    """Replace values, label map and attributes of a synthetic CT that is on the same grid and has a label map."""
    for key, value in attributes.items():
        volume.SetAttribute(key, value)
    slicer.util.updateVolumeFromArray(volume.GetNodeReference(LABELS_REFERENCE), labels.array.transpose(2, 1, 0))
    slicer.util.updateVolumeFromArray(volume, image.array.transpose(2, 1, 0))


def noteOrigin(volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Remember in the scene what a CT is a change of."""
    volumeNode.SetNodeReferenceID(BEFORE_REFERENCE, before.GetID() if before is not None else None)


def addSegmentation(scene: slicer.vtkMRMLScene, labels: LabelVolume, name: str) -> slicer.vtkMRMLSegmentationNode:
    """Add a label map as a segmentation with one segment per label, fully described."""
    grid = Grid(labels.shape, labels.affine, labels.affine)
    labelmap = addVolume(scene, "vtkMRMLLabelMapVolumeNode", labels.array, grid, name)
    labelmap.GetDisplayNode().SetAndObserveColorNodeID(labelColors(scene).GetID())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(labelmap)
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, node)
    node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        describeSegment(segment, segment.GetLabelValue())
    scene.RemoveNode(labelmap)
    return node


def addVolume(
    scene: slicer.vtkMRMLScene,
    className: str,
    array: np.ndarray,
    grid: Grid,
    name: str,
    attributes: Mapping[str, str] | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node that is complete before the scene, and so the selectors that observe it, see it."""
    node = getattr(slicer, className)()
    node.SetName(name)
    for key, value in (attributes or {}).items():
        node.SetAttribute(key, value)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.localAffine))
    slicer.util.updateVolumeFromArray(node, array.transpose(2, 1, 0))
    if grid.transformId and scene.GetNodeByID(grid.transformId):
        node.SetAndObserveTransformNodeID(grid.transformId)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


def setValues(volumeNode: slicer.vtkMRMLScalarVolumeNode, image: ImageVolume) -> None:
    """Replace the values of a volume that is on the grid of ``image``."""
    slicer.util.updateVolumeFromArray(volumeNode, image.array.transpose(2, 1, 0))


def _place(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, node: slicer.vtkMRMLNode, parent: int) -> int:
    """Put the node under ``parent``; only the application makes items by itself."""
    item = hierarchy.GetItemByDataNode(node)
    if not item:
        return hierarchy.CreateItem(parent, node)
    hierarchy.SetItemParent(item, parent)
    return item
