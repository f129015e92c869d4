"""Label map -> plausible CT: the teacher of the embedded model where no real pair exists.

Anatomy comes first, free of noise; lesions are put into it; the scanner follows: its blur, and noise as it is measured
in homogeneous regions of real CTs at 3 mm (10 to 16 HU, neighbors correlated by 0.05 to 0.4), stronger in the middle
of the body and where many X-rays were absorbed sideways. Both images of a pair share everything but the lesions.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maisi.labels import BONES, LESIONS
from maisi.train.embedded.fields import Fields
from maisi.train.embedded.organs import anatomy
from maisi.train.embedded.soft import AIR
from maisi.train.embedded.tissues import BONE_LESION, LESION_LOOKS, NATIVE, PORTAL_VENOUS
from maisi.volume import ImageVolume, LabelVolume


def render_pair(
    before: LabelVolume, after: LabelVolume, rng: np.random.Generator, modality: int = PORTAL_VENOUS
) -> tuple[ImageVolume, ImageVolume]:
    """Two CTs of the same patient, one for each label map; they differ only where lesions do (and at their edge).

    Args:
        before: label map, usually without lesions. after: the same with lesions added. modality: the phase.

    Returns:
        Two int16 HU images on the grid of the labels.
    """
    fields = Fields(before.shape, before.spacing, rng)
    clean = anatomy(before.array, fields, modality)
    textures = 0.8 * fields.noise(7) + 0.5 * fields.noise(2.5)
    shifts = {label: rng.normal(0, look.spread) for label, look in LESION_LOOKS.items()}
    blur = rng.uniform(0.35, 0.52, 3)
    noise = _noise(clean, fields)
    images = []
    for labels in (before, after):
        hu = _with_lesions(clean, labels, textures, shifts, modality)
        hu = ndimage.gaussian_filter(hu, blur)
        outside = (labels.array == 0) & (hu < -960)
        hu += noise
        hu[outside] = AIR
        images.append(ImageVolume(np.clip(np.rint(hu), -1000, 1500).astype(np.int16), labels.affine))
    return images[0], images[1]


def _with_lesions(
    clean: np.ndarray, labels: LabelVolume, textures: np.ndarray, shifts: dict[int, float], modality: int
) -> np.ndarray:
    """``clean`` with the lesions of ``labels`` drawn into it."""
    hu = clean.copy()
    for label in LESIONS:
        mask = labels.array == label
        if not mask.any():
            continue
        look = LESION_LOOKS[label]
        level = (look.native if modality == NATIVE else look.portal) + shifts[label]
        if label == BONE_LESION:
            level = level + _around(clean, np.isin(labels.array, (*BONES, BONE_LESION)), labels.spacing)
        core = ndimage.distance_transform_edt(mask, sampling=labels.spacing) > 6.5 if look.core else 0.0
        values = level + look.texture * textures - look.core * core
        hu[mask] = np.broadcast_to(values, hu.shape)[mask]
    return hu


def _around(hu: np.ndarray, bones: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Mean HU of the bone around each voxel; at least what leaves a lytic lesion at the value of soft tissue."""
    sigma = 5 / spacing
    weight = ndimage.gaussian_filter(bones.astype(np.float32), sigma)
    return (ndimage.gaussian_filter(np.where(bones, hu, 0), sigma) / weight.clip(1e-3)).clip(215, 520)


def _noise(hu: np.ndarray, fields: Fields) -> np.ndarray:
    """Noise of the scan ``[I, J, K]``: nearly white at these voxel sizes, with streaks where most is absorbed."""
    rng, shape = fields.rng, hu.shape
    fine = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), rng.uniform(0.25, 0.5, 3))
    streaks = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (5, 0.4, 0.4))
    water = (hu + 1000) / 1000 * (hu > -900)
    paths = [water.sum(axis) * fields.spacing[axis] for axis in (0, 1)]  # mm of water sideways, and front to back
    absorbed = paths[0][None] + paths[1][:, None]
    center = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(absorbed, 4, 0), 4, 1)
    level = 0.55 + 0.45 * center / max(float(np.percentile(center, 95)), 1.0)
    sideways = (paths[0] / max(float(paths[0].max()), 1.0)) ** 3
    noise = fine / fine.std() * level + 0.45 * streaks / streaks.std() * sideways[None]
    return (rng.uniform(10, 17) * noise).astype(np.float32)
