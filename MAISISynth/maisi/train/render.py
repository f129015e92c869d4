"""Label map -> plausible portal-venous CT: the teacher of the embedded model where no real pair exists.

Each label has a mean attenuation; bones have a cortex, kidneys a cortex, bowel a wall and gas, lungs vessels and
gravity, unlabelled body a fat shell, a muscle wall and visceral fat. Lesions are rendered into the same anatomy with
the same texture and noise, so that a pair differs by the lesion alone (a counterfactual pair).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maisi.labels import BODY, BONES, LESIONS, LUNGS
from maisi.masks.noise import smooth_noise
from maisi.volume import ImageVolume, LabelVolume

AIR = -1000.0
# Portal-venous phase: mean HU and its spread between patients.
TISSUE_HU = {
    1: (106, 7), 3: (118, 8), 4: (94, 8), 5: (172, 12), 14: (172, 12), 6: (150, 10), 7: (138, 10), 8: (72, 8),
    9: (72, 8), 10: (10, 4), 11: (42, 6), 12: (28, 8), 13: (55, 8), 15: (8, 4), 17: (155, 10), 19: (62, 8),
    22: (36, 3), 25: (155, 8), 57: (-985, 5), 58: (148, 10), 59: (148, 10), 60: (132, 10), 61: (132, 10), 62: (18, 10),
    108: (140, 10), 109: (150, 10), 110: (135, 10), 111: (135, 10), 112: (150, 10), 113: (150, 10), 114: (105, 10),
    115: (128, 8), 118: (52, 6), 119: (145, 10), 121: (32, 4), 123: (150, 10), 124: (150, 10), 125: (140, 10),
    126: (115, 10), 132: (-985, 5),
}  # fmt: skip
MUSCLE_HU = (60, 4)
# One default look per lesion kind: the label cannot say more. (mean, spread between lesions, texture)
LESION_HU = {
    23: (42, 10, 8), 24: (48, 7, 6), 26: (56, 8, 7), 27: (92, 8, 7), 128: (42, 10, 10), 129: (84, 9, 9),
    116: (8, 4, 2), 117: (8, 4, 2),
}  # fmt: skip
_BOWEL = (12, 13, 19, 62)
_BONE_CORTEX_HU, _BONE_MARROW_HU = (560, 70), (215, 25)


def render_pair(before: LabelVolume, after: LabelVolume, rng: np.random.Generator) -> tuple[ImageVolume, ImageVolume]:
    """Two CTs of the same patient, one for each label map; they differ only where lesions do (and at their edge).

    Args:
        before: label map, usually without lesions. after: the same with lesions added.

    Returns:
        Two int16 HU images on the grid of the labels.
    """
    clean = _anatomy(before, rng)
    looks = {label: rng.normal(*LESION_HU[label][:2]) for label in LESIONS}
    rough, fine = (smooth_noise(before.shape, before.spacing, mm, rng) for mm in (7.0, 2.5))
    blur = rng.uniform(0.7, 1.3) / before.spacing
    noise = ndimage.gaussian_filter(
        rng.standard_normal(before.shape).astype(np.float32), 0.9 / before.spacing.clip(1.5)
    )
    noise *= rng.uniform(4, 9) / noise.std()
    images = []
    for labels in (before, after):
        hu = clean.copy()
        for label in LESIONS:
            mask = labels.array == label
            if mask.any():
                hu[mask] = (looks[label] + LESION_HU[label][2] * (0.8 * rough + 0.5 * fine))[mask]
        hu = ndimage.gaussian_filter(hu, blur) + noise
        hu[labels.array == 0] = AIR
        images.append(ImageVolume(np.clip(np.rint(hu), -1000, 1500).astype(np.int16), labels.affine))
    return images[0], images[1]


def _anatomy(labels: LabelVolume, rng: np.random.Generator) -> np.ndarray:
    """Noise-free HU ``[I, J, K]`` of everything but lesions."""
    ids, spacing, shape = labels.array, labels.spacing, labels.shape
    rough, fine = (smooth_noise(shape, spacing, mm, rng) for mm in (9.0, 2.2))
    depth = _distance_to_boundary(ids, spacing)
    hu = _unlabelled_tissue(ids, spacing, rng)
    muscle = rng.normal(*MUSCLE_HU)
    for label in np.unique(ids):
        if label in (0, BODY) or label in LESIONS:
            continue
        mask = ids == label
        if label in BONES:
            cortex, marrow = rng.normal(*_BONE_CORTEX_HU), rng.normal(*_BONE_MARROW_HU)
            shell = np.exp(-((depth - 0.5 * spacing.mean()).clip(0)) / 1.5)
            values = marrow + 30 * fine + 15 * rough + (cortex - marrow) * shell
        elif label in LUNGS:
            values = _lung(shape, spacing, rough, fine, rng)
        elif label in _BOWEL:
            values = _bowel(int(label), mask, depth, rough, fine, rng)
        else:
            mean = rng.normal(*TISSUE_HU[label]) if label in TISSUE_HU else muscle + rng.normal(0, 2)
            values = mean + 3.5 * rough + 3 * fine
            if label == 1:
                values = values + 42 * _vessels(shape, spacing, 7.0, rng)
            if label in (5, 14):
                values = values + np.where(depth < 7, 18, -14)
        hu[mask] = values[mask]
    return hu


def _distance_to_boundary(ids: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance in mm of each voxel to the nearest voxel that touches another label."""
    edge = np.zeros(ids.shape, bool)
    for axis in range(3):
        step = np.diff(ids, axis=axis) != 0
        a, b = [slice(None)] * 3, [slice(None)] * 3
        a[axis], b[axis] = slice(None, -1), slice(1, None)
        edge[tuple(a)] |= step
        edge[tuple(b)] |= step
    return ndimage.distance_transform_edt(~edge, sampling=spacing).astype(np.float32)


def _vessels(shape: tuple, spacing: np.ndarray, length_mm: float, rng: np.random.Generator) -> np.ndarray:
    """0 ... 1: thin winding tubes, where two random fields vanish together."""
    a, b = smooth_noise(shape, spacing, length_mm, rng), smooth_noise(shape, spacing, length_mm, rng)
    return np.exp(-7 * (np.abs(a) + np.abs(b))).clip(0, 1)


def _unlabelled_tissue(ids: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Skin, subcutaneous fat, the muscular wall and visceral fat with strands, for id 200; air outside the body."""
    shape = ids.shape
    inside = ids > 0
    # The image border is not the patient's surface: extend the body beyond it before measuring depth.
    depth = ndimage.distance_transform_edt(np.pad(inside, 8, mode="edge"), sampling=spacing)[8:-8, 8:-8, 8:-8]
    fat, muscle = rng.normal(-103, 4), rng.normal(*MUSCLE_HU)
    shell = rng.uniform(7, 24) * (1 + 0.3 * smooth_noise(shape, spacing, 45, rng))
    wall = shell + rng.uniform(9, 16)
    texture = smooth_noise(shape, spacing, 5, rng)
    strands = _vessels(shape, spacing, 9.0, rng)
    visceral = fat + 10 * texture + 210 * strands
    hu = np.where(depth < shell, fat + 5 * texture, np.where(depth < wall, muscle - 8 + 6 * texture, visceral))
    hu = np.where(depth < 2.0, 10.0, hu)
    return np.where(inside, hu, AIR).astype(np.float32)


def _lung(
    shape: tuple, spacing: np.ndarray, rough: np.ndarray, fine: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    gravity = np.linspace(25, -25, shape[1])[None, :, None]  # denser at the back
    vessels = _vessels(shape, spacing, 6.0, rng) + 0.7 * _vessels(shape, spacing, 12.0, rng)
    return rng.normal(-855, 15) + gravity + 12 * rough + 14 * fine + 800 * vessels.clip(0, 1)


def _bowel(
    label: int, mask: np.ndarray, depth: np.ndarray, rough: np.ndarray, fine: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Enhancing wall, contents, and gas that rises to the front (the patient lies on the back)."""
    content = rng.normal(*TISSUE_HU[label]) + (14 * fine + 8 * rough if label == 62 else 5 * rough)
    values = np.where(depth < 2.5, 78.0, content)
    for box in ndimage.find_objects(ndimage.label(mask)[0]):
        if rng.random() > (0.45 if label in (12, 62) else 0.15):
            continue
        front, back = box[1].stop, box[1].start
        level = back + rng.uniform(0.6, 0.9) * (front - back)
        gas = np.zeros(mask.shape, bool)
        gas[box] = mask[box] & (np.arange(back, front)[None, :, None] > level) & (depth[box] > 2.5)
        values = np.where(gas, -930.0, values)
    return values
