"""What organs look like inside: bone, lung, bowel, kidney, heart, vessels and the texture of parenchyma."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maisi.labels import BODY, BONES, BOWEL, KIDNEYS, LESIONS, LUNGS, MUSCLES
from maisi.train.embedded.fields import Fields, depth_below_surface
from maisi.train.embedded.soft import unlabeled_tissue
from maisi.train.embedded.tissues import FAT, NATIVE, bone, tissue

_AIRWAYS = (57, 132)
_HILUM = (6, 57, 115, 119, 132)
_ARTERIES = (6, 58, 59)
_LIVER, _PANCREAS, _HEART, _COLON, _STOMACH = 1, 4, 115, 62, 12
GAS = -940.0


def anatomy(ids: np.ndarray, fields: Fields, modality: int) -> np.ndarray:
    """Noise-free HU ``[I, J, K]`` of everything but lesions.

    Args:
        ids: MAISI ids. fields: of the same grid. modality: phase, see ``tissues``.
    """
    rng = fields.rng
    depth = depth_below_surface(ids, fields.spacing)
    rough, fine = fields.noise(9), fields.noise(2.5)
    hu = unlabeled_tissue(ids, fields, modality)
    muscle = rng.normal(*tissue(MUSCLES[0], modality))
    special = {
        **dict.fromkeys(LUNGS, _lung(ids, fields)),
        **dict.fromkeys(KIDNEYS, _kidney(fields, depth, modality)),
        _LIVER: _liver(fields, modality),
        _PANCREAS: -75 * (fields.noise(4.5) - 1.1).clip(0, 1) + 4,
        _HEART: _heart(fields, depth, modality),
    }
    for label in np.unique(ids).tolist():
        if label in (0, BODY) or label in LESIONS:
            continue
        mask = ids == label
        mean = rng.normal(*tissue(label, modality))
        if label in BONES:
            values = _bone(label, depth, rough, fine, fields)
        elif label in LUNGS:
            values = special[label]
        elif label in BOWEL:
            values = _bowel(label, mask, depth, fields, modality)
        elif label in MUSCLES:
            values = muscle + rng.normal(0, 2) + special.setdefault("striae", _striae(fields))
        else:
            values = mean + 3 * rough + 2 * fine + special.get(label, 0.0)
        if label in _ARTERIES:
            values = np.where((depth < 1) & (special.setdefault("plaques", fields.noise(7)) > 2.1), 420, values)
        hu[mask] = np.broadcast_to(values, ids.shape)[mask]
    return _fat_planes(ids, hu, fields)


def _bone(label: int, depth: np.ndarray, rough: np.ndarray, fine: np.ndarray, fields: Fields) -> np.ndarray:
    """A compact shell around a sponge; the shell is thinner than a voxel, so its voxels hold some of each."""
    rng, kind = fields.rng, bone(label)
    shell = np.exp(-((depth - 0.5 * kind.thickness).clip(0)) / kind.thickness)
    marrow = rng.normal(*kind.marrow)
    cortex = rng.normal(*kind.cortex) * (1 + 0.12 * rough)
    return marrow * (1 + 0.16 * rough + 0.3 * fine) + (cortex - marrow) * shell


def _lung(ids: np.ndarray, fields: Fields) -> np.ndarray:
    """Parenchyma that is denser at the back, with vessels that thin out away from the hilum, and fissures."""
    rng, shape = fields.rng, fields.shape
    hilum = fields.distance(np.isin(ids, _HILUM))
    taper = 0.65 + 1.4 * np.exp(-hilum / 32)
    vessels = fields.tubes(8, 0.8 * taper) + 0.8 * fields.tubes(15, 1.1 * taper) + fields.tubes(26, 1.2 * taper)
    bronchi = fields.tubes(20, 0.7 * taper) * (hilum < 45)
    gravity = np.linspace(35, -30, shape[1], dtype=np.float32)[None, :, None]
    level = rng.normal(-858, 14) + gravity + 14 * fields.noise(12) + 16 * fields.noise(3.5)
    level = level + 60 * (fields.noise((6, 6, 6)) - 1.9).clip(0, 1)
    return level + (880 * vessels.clip(0, 1)) - 90 * bronchi


def _liver(fields: Fields, modality: int) -> np.ndarray:
    """Offset from the parenchyma: vessels, brighter in the portal-venous phase and a little darker without contrast."""
    vessels = (fields.tubes(13, 0.75) + fields.tubes(24, 1.1)).clip(0, 1)
    return (-16 if modality == NATIVE else 48) * vessels


def _kidney(fields: Fields, depth: np.ndarray, modality: int) -> np.ndarray:
    """Offset: cortex and columns, pyramids, and fat and urine of the sinus."""
    pyramids = (depth > 4.5) & (fields.noise(9) > -0.1)
    contrast = 3 if modality == NATIVE else 26
    sinus = (depth > 12.5) & (fields.noise(9) > -0.2)
    return np.where(sinus, -55 - 1.8 * contrast, np.where(pyramids, -contrast, 0.35 * contrast)).astype(np.float32)


def _heart(fields: Fields, depth: np.ndarray, modality: int) -> np.ndarray:
    """Offset: blood in the chambers, muscle around and between them, fat in the grooves."""
    if modality == NATIVE:
        return 3 * fields.noise(12)
    septum = np.abs(fields.noise(38)) < 0.16
    values = np.where((depth > 9) & ~septum, 12, -18).astype(np.float32)
    grooves = (depth < 4) & (fields.noise(16) > 1.3)
    return np.where(grooves, -130, values).astype(np.float32)


def _striae(fields: Fields) -> np.ndarray:
    """Offset in muscle: strands of fat along the body."""
    return 4 * fields.noise((4, 4, 12)) - 70 * (fields.noise((4, 4, 25)) - 1.15).clip(0, 1)


def _bowel(label: int, mask: np.ndarray, depth: np.ndarray, fields: Fields, modality: int) -> np.ndarray:
    """A wall with folds around fluid, food, stool or gas; gas rises to the front of a patient on the back."""
    rng = fields.rng
    wall = (62 if modality == NATIVE else 88) - 22 + rng.normal(0, 4)
    filling, fine = fields.noise(28), fields.noise(4)
    content = rng.normal(*tissue(label, modality)) + 7 * filling + 5 * fine
    if label == _COLON:
        bubbles = (fine - 0.35).clip(0, 1) * (filling > -0.7)
        content = content + 15 * fields.noise(6) - 620 * bubbles
    elif label == _STOMACH:
        content = content + 28 * (fields.noise(10) > 0.4)
    else:
        collapsed = filling > 0.35
        content = np.where(collapsed, wall - 12 + 12 * fine, content)
    values = np.where(depth < 1.6 + 1.2 * (fields.noise(7) > 0.6), wall, content)
    gas = _gas(label, mask, filling, fields) & (depth > 1.6)
    return np.where(gas, GAS, values)


def _gas(label: int, mask: np.ndarray, filling: np.ndarray, fields: Fields) -> np.ndarray:
    """Where gas has risen to: above a level that belongs to each stretch of bowel."""
    gas = np.zeros(mask.shape, bool)
    chance = {_COLON: 0.8, _STOMACH: 0.7}.get(label, 0.12)
    for box in ndimage.find_objects(ndimage.label(mask)[0]):
        if fields.rng.random() > chance:
            continue
        back, front = box[1].start, box[1].stop
        level = back + (front - back) * fields.rng.uniform(0.5, 0.9)
        height = np.arange(back, front, dtype=np.float32)[None, :, None]
        gas[box] |= mask[box] & (height + (front - back) * 0.25 * filling[box] > level)
    return gas


def _fat_planes(ids: np.ndarray, hu: np.ndarray, fields: Fields) -> np.ndarray:
    """Thin fat between neighbouring soft organs, here and there: without it they would melt into one."""
    soft = (ids > 0) & (ids != BODY) & ~np.isin(ids, (*BONES, *LUNGS, *_AIRWAYS, 17, 25, 121, *LESIONS))
    where = np.zeros(ids.shape, bool)
    for axis in range(3):
        a, b = [slice(None)] * 3, [slice(None)] * 3
        a[axis], b[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(a), tuple(b)
        where[a] |= (ids[a] != ids[b]) & soft[a] & soft[b]
    share = where * (0.45 + 0.25 * fields.noise(14)).clip(0, 0.75)
    return hu + share * (FAT[0] - hu) * (hu > -200)
