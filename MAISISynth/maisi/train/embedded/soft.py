"""What a label map does not name: skin, fat, the muscles of trunk and limbs, discs and mesenteric vessels (id 200)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maisi.labels import BOWEL, LUNGS, VERTEBRAE
from maisi.train.embedded.fields import Fields
from maisi.train.embedded.tissues import DISC, FAT, SKIN, tissue

AIR = -1000.0
_RIB_CAGE = (*range(63, 87), 122, 114)
_LIMBS = (87, 88, 93, 94)
_FLAT_BONES = (89, 90, 91, 92, 95, 96, 97)
_VISCERA = (*BOWEL, *LUNGS, 1, 3, 5, 10, 14, 15, 115)
_MUSCLE = 104  # any muscle's id: they look the same


def unlabeled_tissue(ids: np.ndarray, fields: Fields, modality: int) -> np.ndarray:
    """HU ``[I, J, K]`` of the body wherever there is no organ, :data:`AIR` outside it.

    Args:
        ids: MAISI ids. fields: of the same grid. modality: phase, see ``tissues``.
    """
    rng = fields.rng
    fat = rng.normal(*FAT) + 5 * fields.noise(14) + 4 * fields.noise(5)
    muscle, septa = _muscle(fields, modality)
    share, depth, shell = _muscle_share(ids, fields)
    vessels = fields.tubes(6, 1.1) + fields.tubes(11, 1.0) + 0.8 * fields.tubes(18, 1.4)
    blood = tissue(7, modality)[0] - 15
    visceral = fat + 6 + (blood - fat) * vessels.clip(0, 1) * (0.75 + 0.35 * fields.noise(40)).clip(0.1, 1)
    veins = 110 * fields.tubes(22, 0.45)
    hu = np.where(depth < shell, fat + veins, visceral)
    hu += share * (1 - 0.75 * septa) * (muscle - hu)
    hu = _discs(ids, fields, hu)
    hu = np.where(depth < 1.7, SKIN, hu)
    return np.where(ids > 0, hu, AIR).astype(np.float32)


def _muscle(fields: Fields, modality: int) -> tuple[np.ndarray, np.ndarray]:
    """HU of muscle, and 0...1 where fat parts its bundles, which run along the body."""
    septa = np.exp(-8 * np.abs(fields.noise((10, 10, 40)))) * (0.6 + 0.5 * fields.noise(25)).clip(0, 1)
    return fields.rng.normal(*tissue(_MUSCLE, modality)) - 6 + 5 * fields.noise((4, 4, 12)), septa


def _muscle_share(ids: np.ndarray, fields: Fields) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of each voxel is muscle (0...1), depth below the skin and thickness of the fat under it, in mm."""
    rng = fields.rng
    inside = np.pad(ids > 0, 8, mode="edge")  # the image border is not the patient's surface
    depth = ndimage.distance_transform_edt(inside, sampling=fields.spacing)[8:-8, 8:-8, 8:-8].astype(np.float32)
    viscera = fields.distance(np.isin(ids, _VISCERA))
    lungs = fields.distance(np.isin(ids, LUNGS))
    ribs = fields.distance(np.isin(ids, _RIB_CAGE))
    limbs = fields.distance(np.isin(ids, _LIMBS))
    flat = fields.distance(np.isin(ids, _FLAT_BONES))
    spine = fields.distance(np.isin(ids, VERTEBRAE))
    irregular = 1 + 0.25 * fields.noise(35)
    shell = rng.uniform(8, 30) * (1 + 0.3 * fields.noise(60))
    shell = np.minimum(shell, 0.5 * (depth + np.minimum(viscera, 0.8 * ribs))).clip(2)
    wall = rng.uniform(9, 15) * irregular
    reach = np.stack(
        [
            shell + wall - depth,  # abdominal wall
            np.minimum(16 * irregular - lungs, 42 - depth),  # chest wall outside and between the ribs
            np.minimum(7 * irregular - ribs, 42 - depth),
            42 * irregular - limbs,
            13 * irregular - flat,
            np.minimum(15 * irregular - spine, 90 - depth),
        ]
    ).max(0)
    share = (0.5 + reach / 3).clip(0, 1) * (0.5 + (depth - shell) / 3).clip(0, 1)
    return share, depth, shell


def _discs(ids: np.ndarray, fields: Fields, hu: np.ndarray) -> np.ndarray:
    """Discs and ligaments in the gaps between vertebrae."""
    spine = np.isin(ids, VERTEBRAE).astype(np.float32)
    near = ndimage.gaussian_filter(spine, 4.5 / fields.spacing)
    share = ((near - 0.3) / 0.12).clip(0, 1)
    return hu + share * (fields.rng.normal(*DISC) + 6 * fields.noise(5) - hu)
