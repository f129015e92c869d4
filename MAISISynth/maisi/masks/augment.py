"""Tumors of a label map changed at random inside their organs: smaller, larger, elsewhere, of another shape.

Erosion, dilation and translation are the augmentation of the MAISI-v2 paper; elastic deformation is that of its
released code (FACTS 3.5), where a tumor also has to keep most of its volume inside its organ. Here sizes are in mm,
each tumor changes by itself, in a region of its own, and one that does not fit after all tries stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS, remove_lesions
from maisi.masks.noise import smooth_noise
from maisi.volume import LabelVolume

_TRIES = 20
_FRESH_TRIES = 8  # at full strength; after them each try is weaker


@dataclass(frozen=True)
class Augmentation:
    """How much a tumor may change.

    Attributes:
        erode_mm, dilate_mm: how much thinner or thicker at most; the size is drawn evenly between the two.
        translate_mm: length of the longest displacement.
        elastic_mm: standard deviation of the deformation; elastic_length_mm: over which distance it varies.
        keep: least part of the changed tumor that must lie in its organ, 0 to 1.

    Raises:
        InputError: a value is negative or not finite, or ``keep`` is greater than 1.
    """

    erode_mm: float = 2.0
    dilate_mm: float = 4.0
    translate_mm: float = 15.0
    elastic_mm: float = 2.0
    elastic_length_mm: float = 12.0
    keep: float = 0.8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} of a mask augmentation must be 0 or more, not {value:g}.")
        if self.keep > 1 or self.elastic_length_mm == 0:
            raise InputError("keep is a part of the tumor, 0 to 1, and elastic_length_mm must be greater than 0.")


@dataclass(frozen=True)
class _Tumor:
    """One connected tumor: its label, a box with room for the change, and its mask in that box."""

    label: int
    box: tuple[slice, ...]
    mask: np.ndarray


def augment_tumors(
    labels: LabelVolume, rng: np.random.Generator, augmentation: Augmentation | None = None
) -> LabelVolume:
    """``labels`` with each tumor and cyst changed at random; where one leaves, its organ returns.

    Organs that are not host of a tumor here, the body and the background keep every voxel.
    """
    how = augmentation or Augmentation()
    tumors = _tumors(labels, how)
    result = remove_lesions(labels.array)
    waiting = np.isin(labels.array, LESIONS)  # so that a tumor that does not fit finds its old place free
    for tumor in tumors:
        waiting[tumor.box] &= ~tumor.mask
        free = np.isin(result[tumor.box], LABELS[tumor.label].hosts) & ~waiting[tumor.box]
        changed = _changed(tumor, free | tumor.mask, labels.spacing, rng, how)
        result[tumor.box][changed] = tumor.label
    return LabelVolume(result, labels.affine)


def _tumors(labels: LabelVolume, how: Augmentation) -> list[_Tumor]:
    reach = how.dilate_mm + how.translate_mm + 3 * how.elastic_mm
    margin = np.ceil(reach / labels.spacing).astype(int) + 1
    found = []
    for label in LESIONS:
        parts, _ = ndimage.label(labels.array == label, np.ones((3, 3, 3)))
        for number, place in enumerate(ndimage.find_objects(parts), start=1):
            box = tuple(
                slice(max(s.start - m, 0), min(s.stop + m, n))
                for s, m, n in zip(place, margin, labels.shape, strict=True)
            )
            found.append(_Tumor(label, box, parts[box] == number))
    return found


def _changed(
    tumor: _Tumor, free: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, how: Augmentation
) -> np.ndarray:
    """bool, in the tumor's box: the first change that lies well enough in ``free``, else the tumor as it was."""
    depth = ndimage.distance_transform_edt(np.pad(tumor.mask, 1), spacing)[1:-1, 1:-1, 1:-1]
    depth -= ndimage.distance_transform_edt(~tumor.mask, spacing)
    depth -= np.sign(depth) * spacing.min() / 2  # distances are between centers, the surface is halfway
    for attempt in range(_TRIES):
        strength = 0.8 ** max(attempt - _FRESH_TRIES, 0)
        candidate = _candidate(depth, spacing, strength, rng, how)
        inside = candidate & free
        if inside.any() and inside.sum() >= how.keep * candidate.sum():
            return inside
    return tumor.mask


def _candidate(
    depth: np.ndarray, spacing: np.ndarray, strength: float, rng: np.random.Generator, how: Augmentation
) -> np.ndarray:
    """The tumor of signed ``depth`` in mm, moved, bent, and grown or shrunk."""
    towards = rng.standard_normal(3)
    distance = how.translate_mm * rng.uniform() ** (1 / 3)  # evenly over the ball
    shift = strength * distance * towards / np.linalg.norm(towards)
    size = strength * rng.uniform(-how.erode_mm, how.dilate_mm)
    index = np.indices(depth.shape, dtype=np.float32)
    for axis in range(3):
        index[axis] -= shift[axis] / spacing[axis]
        if how.elastic_mm:
            bend = smooth_noise(depth.shape, spacing, how.elastic_length_mm, rng).clip(-3, 3)
            index[axis] += strength * how.elastic_mm / spacing[axis] * bend
    return ndimage.map_coordinates(depth, index, order=1, mode="nearest") > -size
