"""Is the lesion where the mask says, and does it look like one: its contrast to the host organ around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import pi

import numpy as np
from scipy import ndimage

from maisi.labels import LABELS, LESIONS
from maisi.volume import Box, ImageVolume, LabelVolume

RING_MM = 12.0  # around a lesion, where its surroundings are measured
MIN_CORE = 4  # voxels; of a smaller core the whole lesion is read
Segment = Callable[[Box], np.ndarray]  # part of a volume -> bool mask of what looks like a lesion there


@dataclass(frozen=True)
class LesionReading:
    """One connected lesion.

    Attributes:
        kind: its MAISI id. diameter_mm: of a sphere of its volume.
        lesion_hu: median of its core, which is the lesion without its outermost voxels.
        host_hu: median of its host organs within ``RING_MM``. contrast_hu: the difference of both.
        dice: of the lesion with what looks like one, within the lesion and that ring; see :func:`read_lesions`.
    """

    kind: int
    diameter_mm: float
    lesion_hu: float
    host_hu: float
    contrast_hu: float
    dice: float

    @property
    def name(self) -> str:
        """What kind of lesion it is."""
        return LABELS[self.kind].name


def read_lesions(image: ImageVolume, labels: LabelVolume, segment: Segment | None = None) -> list[LesionReading]:
    """Readings of all lesions that have some host organ around them.

    Args:
        image: HU. labels: on its grid. segment: tells what looks like a lesion; None: what is nearer to the median of
            the lesion's core than to that of the host.
    """
    return [
        _read(image.array[part.box], part, labels, None if segment is None else segment(part.box))
        for part in find_lesions(labels)
    ]


@dataclass(frozen=True)
class Part:
    """A lesion of ``kind`` and its ``ring``: bool masks of the voxels in ``box``."""

    kind: int
    box: Box
    inside: np.ndarray
    ring: np.ndarray


def find_lesions(labels: LabelVolume) -> Iterator[Part]:
    """Each connected lesion with the host voxels around it; those without any are left out."""
    for kind in LESIONS:
        parts, _ = ndimage.label(labels.array == kind)
        for number, found in enumerate(ndimage.find_objects(parts), 1):
            box = grown(found, RING_MM, labels)
            inside = parts[box] == number
            ring = ring_of(inside, labels.array[box], kind, labels.spacing)
            if ring.any():
                yield Part(kind, box, inside, ring)


def ring_of(inside: np.ndarray, ids: np.ndarray, kind: int, spacing: np.ndarray) -> np.ndarray:
    """Voxels of the hosts of ``kind`` within ``RING_MM`` of the mask ``inside``; ``[I, J, K]``, ``spacing`` in mm."""
    near = ndimage.distance_transform_edt(~inside, sampling=spacing) <= RING_MM
    return near & ~inside & np.isin(ids, LABELS[kind].hosts)


def grown(box: Box, margin_mm: float, grid: LabelVolume) -> Box:
    """``box`` with a margin on all sides, within the grid."""
    reach = np.ceil(margin_mm / grid.spacing).astype(int).tolist()
    return tuple(slice(max(0, s.start - r), min(s.stop + r, n)) for s, r, n in zip(box, reach, grid.shape, strict=True))


def _read(hu: np.ndarray, part: Part, labels: LabelVolume, found: np.ndarray | None) -> LesionReading:
    core = ndimage.binary_erosion(part.inside)
    core = core if np.count_nonzero(core) >= MIN_CORE else part.inside
    lesion, host = float(np.median(hu[core])), float(np.median(hu[part.ring]))
    if found is None:
        found = np.abs(hu - lesion) < np.abs(hu - host)
    volume = np.count_nonzero(part.inside) * abs(np.linalg.det(labels.affine[:3, :3]))
    seen = found & (part.inside | part.ring)
    overlap = 2 * np.count_nonzero(seen & part.inside)
    dice = overlap / (np.count_nonzero(seen) + np.count_nonzero(part.inside))
    return LesionReading(part.kind, float((6 * volume / pi) ** (1 / 3)), lesion, host, lesion - host, float(dice))
