"""The body envelope, id 200: everything inside the skin that has no organ label. Without it that space becomes air."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import io_orientation
from scipy import ndimage

from maisi.errors import InputError
from maisi.labels import BACKGROUND, BODY, LUNGS
from maisi.volume import ImageVolume, LabelVolume

AIR_HU = -800
TABLE_FRACTION = 0.05  # an air-filled piece this large beside the labeled lungs is table padding
BRIDGE_MM = 80.0  # labels this far apart (twice) are taken as one trunk
SKIN_MM = 24.0  # skin, fat and abdominal wall beyond the outermost labels
COARSE_MM = 4.0  # the estimated envelope is smooth; finer voxels add nothing
EXPOSED = 0.25  # organs with more of their surface in the open have no body around them


def with_body(labels: LabelVolume, image: ImageVolume | None = None) -> tuple[LabelVolume, str | None]:
    """``labels`` with a body around the organs, and what was assumed for it (None: it was there, nothing changed).

    Raises:
        InputError: the label map is empty, or ``image`` lies on another grid.
    """
    if not labels.array.any():
        raise InputError("The label map is empty; draw or map at least one structure.")
    if _covered(labels.array):
        return labels, None
    if image is not None:
        return body_from_ct(image, labels), "There is no body outline (id 200) in the labels; it was taken from the CT."
    return body_from_labels(labels), (
        "There is no body outline (id 200) in the labels; it was estimated, with skin and fat reaching about "
        f"{SKIN_MM:.0f} mm beyond the outermost labels. Add a body segment for a better one."
    )


def body_from_ct(image: ImageVolume, labels: LabelVolume) -> LabelVolume:
    """``labels`` with 200 in every unlabeled voxel of the patient that the CT shows (FACTS 2.15).

    Unlike the reference, all air that reaches the sides of the volume is outside, not only its largest piece: a patient
    who fills the width parts the air in two.

    Raises:
        InputError: image and labels lie on different grids.
    """
    if not image.same_grid(labels):
        raise InputError("The CT and the labels lie on different grids; resample one to the other.")
    organs = labels.array != BACKGROUND
    air = _reaching_the_sides(image.array < AIR_HU, labels.affine)
    air = _erode(_dilate(air, 3), 3, outside=1) & ~organs
    body = _dilate(_largest(_erode(~air, 5, outside=0)), 5)  # cuts the table off
    body = _erode(_dilate(body, 3), 3, outside=1)
    filled = labels.array.copy()
    filled[body & ~organs] = BODY
    if np.isin(labels.array, LUNGS).any():
        filled[_table_padding((filled == BODY) & (image.array < AIR_HU), np.count_nonzero(filled == BODY))] = BACKGROUND
    return LabelVolume(filled, labels.affine)


def body_from_labels(labels: LabelVolume) -> LabelVolume:
    """``labels`` with 200 in the unlabeled voxels of an envelope estimated from the labels alone.

    The labels are closed (gaps up to ``2 * BRIDGE_MM``), grown by ``SKIN_MM`` and filled slice by slice. At the top and
    bottom of the grid the patient is taken to go on.
    """
    superior = _superior_axis(labels.affine)
    factors = np.maximum(COARSE_MM // labels.spacing, 1).astype(int)
    coarse = _thin_out(labels.array != BACKGROUND, factors)
    spacing = labels.spacing * factors
    pad = np.ceil((BRIDGE_MM + SKIN_MM) / spacing).astype(int)
    ends = np.arange(3) == superior
    trunk = np.pad(np.pad(coarse, [(n, n) for n in pad * ~ends]), [(n, n) for n in pad * ends], mode="edge")
    grown = ndimage.distance_transform_edt(~trunk, sampling=spacing) <= BRIDGE_MM
    closed = ndimage.distance_transform_edt(grown, sampling=spacing) > BRIDGE_MM - SKIN_MM
    closed = closed[tuple(slice(n, -n) for n in pad)]
    envelope = np.stack([ndimage.binary_fill_holes(s) for s in np.moveaxis(closed, superior, 0)], superior)
    smooth = ndimage.affine_transform(  # fine voxel f lies at (f + 0.5) / factor - 0.5 of the coarse grid
        envelope.astype(np.float32), 1 / factors, (1 / factors - 1) / 2, labels.shape, order=1, mode="nearest"
    )
    filled = labels.array.copy()
    filled[(smooth > 0.5) & (labels.array == BACKGROUND)] = BODY
    return LabelVolume(filled, labels.affine)


def _covered(array: np.ndarray) -> bool:
    """Whether the surface of the organs lies in the body rather than in the open."""
    organs = (array != BACKGROUND) & (array != BODY)
    around = _dilate(organs, 3) & ~organs
    return np.count_nonzero(array[around] == BACKGROUND) <= EXPOSED * np.count_nonzero(around)


def _superior_axis(affine: np.ndarray) -> int:
    return int(np.flatnonzero(io_orientation(affine)[:, 0] == 2)[0])


def _thin_out(mask: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Whether anything is set in each block of ``factors`` voxels (the last block may be smaller)."""
    for axis, factor in enumerate(factors):
        starts = np.arange(0, mask.shape[axis], factor)
        mask = np.logical_or.reduceat(mask, starts, axis=axis)
    return mask


def _reaching_the_sides(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The pieces of ``mask`` that touch the left, right, front or back face of the grid."""
    pieces, count = ndimage.label(mask)
    outside = np.zeros(count + 1, bool)
    for axis in {0, 1, 2} - {_superior_axis(affine)}:
        for face in (0, -1):
            outside[np.take(pieces, face, axis)] = True
    outside[0] = False
    return outside[pieces]


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    return pieces == 1 + np.argmax(sizes[1:])


def _table_padding(mask: np.ndarray, body_voxels: int) -> np.ndarray:
    pieces, _ = ndimage.label(mask)
    large = np.bincount(pieces.ravel()) >= TABLE_FRACTION * body_voxels
    large[0] = False
    return large[pieces]


def _dilate(mask: np.ndarray, size: int) -> np.ndarray:
    """Box of ``size`` voxels; nothing beyond the border."""
    return ndimage.maximum_filter(mask.view(np.uint8), size, mode="constant", cval=0).view(bool)


def _erode(mask: np.ndarray, size: int, outside: int) -> np.ndarray:
    return ndimage.minimum_filter(mask.view(np.uint8), size, mode="constant", cval=outside).view(bool)
