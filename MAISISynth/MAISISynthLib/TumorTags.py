"""The lesion that a segment was made from, kept as JSON in a tag of the segment: saved with every file format."""

from __future__ import annotations

import json
import zlib

import numpy as np
import slicer
import vtk

from maisi.errors import InputError
from maisi.masks.lesion import Lesion
from MAISISynthLib.LabelMapping import LESION_TAG

_VOXELS = "voxels"  # fingerprint of what was written: painting over it afterwards makes the parameters untrue


def writeLesion(segment: slicer.vtkSegment, lesion: Lesion, mask: np.ndarray) -> None:
    """Store ``lesion``, in the RAS of the segmentation node itself, with a fingerprint of the segment's voxels."""
    segment.SetTag(LESION_TAG, json.dumps({**lesion.to_json(), _VOXELS: fingerprint(mask)}))


def readLesion(segment: slicer.vtkSegment, mask: np.ndarray) -> Lesion | None:
    """The stored lesion, or None: there is none, it cannot be read, or the segment was painted over since."""
    value = vtk.mutable("")
    if not segment.GetTag(LESION_TAG, value):
        return None
    try:
        values = json.loads(str(value))
        return Lesion.from_json(values) if values.pop(_VOXELS) == fingerprint(mask) else None
    except (ValueError, KeyError, AttributeError, InputError):
        return None


def fingerprint(mask: np.ndarray) -> int:
    """A number that tells ``[I, J, K]`` masks apart, whatever empty margin they have."""
    occupied = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(occupied[0]):
        return 0
    part = mask[tuple(slice(found[0], found[-1] + 1) for found in occupied)]
    return zlib.crc32(np.packbits(part).tobytes(), zlib.crc32(str(part.shape).encode()))
