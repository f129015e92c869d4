"""Small boxes of a segmentation's voxels, read and written in place: an edit costs what it changes, not the whole CT.

All boxes and masks are ``[I, J, K]`` on the grid of the segmentation (``NodeGrid.segmentationGrid``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import slicer
import vtk

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.NodeGrid import BINARY_LABELMAP, Grid, segmentationGrid
from MAISISynthLib.SceneIO import emptyImage, imageArray, resampled

Box = tuple[slice, slice, slice]
_NOWHERE = (slice(0, 0),) * 3
_LOGIC = slicer.vtkSlicerSegmentationsModuleLogic


class SegmentVoxels:
    """The binary labelmaps of a segmentation node.

    Raises:
        InputError: the segmentation has no grid, holds surfaces only, or is under a warping transform.
    """

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        self.grid = segmentationGrid(segmentationNode)
        self._toGrid = np.linalg.inv(self.grid.localAffine)
        self._node = segmentationNode
        self._segmentation = segmentationNode.GetSegmentation()
        if self._segmentation.GetSourceRepresentationName() != BINARY_LABELMAP:
            raise InputError(
                _(
                    "'{name}' holds surfaces or contours: make its source representation a binary labelmap first."
                ).format(name=segmentationNode.GetName())
            )

    # ---- reading

    def read(self, segmentId: str, box: Box) -> np.ndarray:
        """bool: the voxels of a segment in a box."""
        image = self._image(segmentId)
        if image is None:
            return np.zeros(_shape(box), bool)
        return self._values(image, box) == self._labelValue(segmentId)

    def readAll(self, box: Box) -> dict[str, np.ndarray]:
        """Segment ID -> its bool voxels in a box, of the segments that have any there, in their order."""
        found = {}
        for index in range(self._segmentation.GetNumberOfLayers(BINARY_LABELMAP)):
            values = self._values(self._segmentation.GetLayerDataObject(index, BINARY_LABELMAP), box)
            present = set(np.flatnonzero(np.bincount(values.ravel())).tolist()) - {0}
            if present:
                for segmentId in self._segmentation.GetSegmentIDsForLayer(index, BINARY_LABELMAP):
                    if self._labelValue(segmentId) in present:
                        found[segmentId] = values == self._labelValue(segmentId)
        return {segmentId: found[segmentId] for segmentId in self._segmentation.GetSegmentIDs() if segmentId in found}

    def sharing(self, segmentIds: Collection[str]) -> set[str]:
        """All segments that lie in a layer with one of these, in which no two of them can have the same voxel."""
        layers = {self._segmentation.GetLayerIndex(segmentId, BINARY_LABELMAP) for segmentId in segmentIds}
        return {s for layer in layers for s in self._segmentation.GetSegmentIDsForLayer(layer, BINARY_LABELMAP)}

    def occupied(self, segmentId: str) -> Box:
        """The smallest box that holds the segment's voxels within the grid; empty slices where there are none."""
        image = self._image(segmentId)
        if image is None or image.IsEmpty():
            return _NOWHERE
        box, low = tuple(slice(0, n) for n in self.grid.shape), self._offset(image)
        if low is not None:
            box = self._overlap(box, low, image.GetDimensions())
        place = _bounds(self.read(segmentId, box))
        return tuple(
            slice(b.start + p.start, b.start + p.stop) if p.stop else p for b, p in zip(box, place, strict=True)
        )

    def _image(self, segmentId: str) -> slicer.vtkOrientedImageData | None:
        return self._segmentation.GetSegment(segmentId).GetRepresentation(BINARY_LABELMAP)

    def _labelValue(self, segmentId: str) -> int:
        return self._segmentation.GetSegment(segmentId).GetLabelValue()

    def _values(self, image: slicer.vtkOrientedImageData, box: Box) -> np.ndarray:
        """Label values of a layer in a box, not to be written to; 0 where the layer ends."""
        if image.IsEmpty() or image.GetPointData().GetScalars() is None:
            return np.zeros(_shape(box), np.uint8)
        low = self._offset(image)
        if low is None:  # on another lattice than the segmentation: only a look at it is needed
            affine = self.grid.localAffine.copy()
            affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
            return resampled(image, emptyImage(Grid(_shape(box), affine, affine)))
        inner = self._overlap(box, low, image.GetDimensions())
        if inner == box:
            return imageArray(image)[_shifted(box, low)]
        values = np.zeros(_shape(box), imageArray(image).dtype)
        values[_within(inner, box)] = imageArray(image)[_shifted(inner, low)]
        return values

    def _offset(self, image: slicer.vtkOrientedImageData) -> np.ndarray | None:
        """``[3]`` grid index of the image's first voxel; None if its voxels do not lie on those of the grid."""
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        toGrid = self._toGrid @ slicer.util.arrayFromVTKMatrix(matrix)
        low = toGrid[:3, :3] @ image.GetExtent()[::2] + toGrid[:3, 3]
        same = np.abs(toGrid[:3, :3] - np.eye(3)).max() < 1e-4 and np.abs(low - low.round()).max() < 1e-2
        return low.round().astype(int) if same else None

    @staticmethod
    def _overlap(box: Box, low: np.ndarray, shape: tuple[int, int, int]) -> Box:
        """The part of a box that an image of this shape, whose first voxel is at ``low``, covers."""
        bounds = [(max(b.start, a), min(b.stop, a + n)) for b, a, n in zip(box, low.tolist(), shape, strict=True)]
        return tuple(slice(start, max(start, stop)) for start, stop in bounds)

    # ---- writing

    def separate(self, segmentId: str) -> None:
        """Give a segment that shares a layer one of its own, as large as the segment; no voxel and no surface changes.

        A history copies every layer that was written to since its last state, and writing looks for the edges of the
        layer; both cost less in a small one. ``vtkSegmentation.SeparateSegmentLabelmap`` makes a layer of full size.
        """
        if self.sharing([segmentId]) <= {segmentId}:  # IsSharedBinaryLabelmap says the contrary of its name
            return
        segment, shared = self._segmentation.GetSegment(segmentId), self._image(segmentId)
        array = imageArray(shared)
        mask = array == segment.GetLabelValue()
        place = _bounds(mask)
        if place == _NOWHERE:
            return
        own = slicer.vtkOrientedImageData()
        matrix = vtk.vtkMatrix4x4()
        shared.GetImageToWorldMatrix(matrix)
        own.SetImageToWorldMatrix(matrix)
        own.SetExtent(_extent(_shifted(place, -np.array(shared.GetExtent()[::2]))))
        own.AllocateScalars(shared.GetScalarType(), 1)
        imageArray(own)[...] = mask[place]
        array[place][mask[place]] = 0
        shared.GetPointData().GetScalars().Modified()  # not the image: that would drop the surfaces of all its segments
        segment.AddRepresentation(BINARY_LABELMAP, own)
        segment.SetLabelValue(1)
        for event in (self._segmentation.SourceRepresentationModified, self._segmentation.RepresentationModified):
            self._segmentation.InvokeEvent(event, segmentId)

    def replace(self, segmentId: str, mask: np.ndarray, box: Box) -> None:
        """Make the segment exactly ``mask``, on a layer of its own: it may overlap others, which lose nothing."""
        self.separate(segmentId)
        self._write(segmentId, mask, box, _LOGIC.MODE_REPLACE)

    def erase(self, segmentId: str, mask: np.ndarray, box: Box) -> None:
        """Take voxels from a segment. One on another lattice stays as it is."""
        if self._onGrid(segmentId):
            sharing = set(self._segmentation.GetSegmentIDs()) - {segmentId}  # they lose nothing and stay in the layer
            self._write(segmentId, ~mask, box, _LOGIC.MODE_MERGE_MIN, sorted(sharing))

    def fill(self, segmentId: str, mask: np.ndarray, box: Box) -> None:
        """Give voxels to a segment, which others of its layer lose. One on another lattice stays as it is."""
        if self._onGrid(segmentId):
            self._write(segmentId, mask, box, _LOGIC.MODE_MERGE_MASK)

    def image(self, mask: np.ndarray, box: Box) -> slicer.vtkOrientedImageData:
        """A labelmap of 0 and 1 that lies in the box of the grid."""
        image = emptyImage(self.grid)
        image.SetExtent(*_extent(box))
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        imageArray(image)[...] = mask
        return image

    def _onGrid(self, segmentId: str) -> bool:
        image = self._image(segmentId)
        return image is not None and not image.IsEmpty() and self._offset(image) is not None

    def _write(self, segmentId: str, mask: np.ndarray, box: Box, mode: int, overwrite: Sequence[str] = ()) -> None:
        """Surfaces of this segment follow, and those of others are kept, which writing into the array would drop."""
        image, write = self.image(mask, box), _LOGIC.SetBinaryLabelmapToSegment
        if not write(image, self._node, segmentId, mode, _extent(box), False, list(overwrite)):
            raise InputError(_("The voxels of '{name}' cannot be written.").format(name=self._node.GetName()))


def _extent(box: Box) -> list[int]:
    return [edge for s in box for edge in (s.start, s.stop - 1)]


def _bounds(mask: np.ndarray) -> Box:
    """The smallest box that holds all True; empty slices where there is none."""
    flat = mask.any(axis=2)  # one pass over all voxels; the rest is small
    if not flat.any():
        return _NOWHERE
    i, j = (_span(flat.any(axis=axis)) for axis in (1, 0))
    return i, j, _span(mask[i, j].any(axis=(0, 1)))


def _span(occupied: np.ndarray) -> slice:
    """From the first to the last True."""
    places = np.flatnonzero(occupied)
    return slice(int(places[0]), int(places[-1]) + 1)


def _shape(box: Box) -> tuple[int, int, int]:
    return tuple(s.stop - s.start for s in box)


def _shifted(box: Box, low: np.ndarray) -> Box:
    return tuple(slice(s.start - a, s.stop - a) for s, a in zip(box, low.tolist(), strict=True))


def _within(inner: Box, outer: Box) -> Box:
    """``inner`` counted from the corner of ``outer``."""
    return _shifted(inner, np.array([s.start for s in outer]))
