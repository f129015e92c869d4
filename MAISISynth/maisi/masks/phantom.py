"""Procedural labelled anatomy: a torso of MAISI ids made from a seed, for demos, tests and training."""

from __future__ import annotations

import numpy as np

from maisi.labels import BODY
from maisi.masks.noise import smooth_noise
from maisi.volume import LabelVolume

_VERTEBRAE = tuple(range(49, 32, -1))  # T1 ... T12, L1 ... L5
_T10 = 9  # index into _VERTEBRAE of the vertebra at the level of the diaphragm, z = 0


class _Canvas:
    """A label array with the (gently warped) RAS coordinates in mm of each voxel; later paint covers ``over`` only."""

    def __init__(self, shape: tuple[int, int, int], spacing: np.ndarray, center: np.ndarray, rng: np.random.Generator):
        self.labels = np.zeros(shape, np.uint8)
        self.rng = rng
        axes = [(np.arange(n) - (n - 1) / 2) * s + c for n, s, c in zip(shape, spacing, center, strict=True)]
        grid = np.meshgrid(*axes, indexing="ij", sparse=True)
        self.x, self.y, self.z = (
            g + 6.0 * smooth_noise(shape, spacing, 55, rng) + 1.5 * smooth_noise(shape, spacing, 16, rng) for g in grid
        )

    def paint(self, where: np.ndarray, label: int, over: tuple[int, ...] = (BODY,)) -> None:
        self.labels[where & np.isin(self.labels, over)] = label

    def ellipsoid(self, center: tuple, radii: tuple, jitter: float = 0.0) -> np.ndarray:
        """Voxels inside an ellipsoid (mm) whose radii vary by the fraction ``jitter``."""
        r = np.array(radii) * self.rng.normal(1, jitter, 3).clip(0.7, 1.3)
        return (
            ((self.x - center[0]) / r[0]) ** 2 + ((self.y - center[1]) / r[1]) ** 2 + ((self.z - center[2]) / r[2]) ** 2
        ) < 1

    def tube(self, points: list[tuple], radius: float) -> np.ndarray:
        """Voxels within ``radius`` mm of a polyline."""
        inside = np.zeros(self.labels.shape, bool)
        for a, b in zip(np.array(points[:-1], float), np.array(points[1:], float), strict=True):
            step = b - a
            t = ((self.x - a[0]) * step[0] + (self.y - a[1]) * step[1] + (self.z - a[2]) * step[2]) / (step @ step)
            t = t.clip(0, 1)
            distance = (self.x - a[0] - t * step[0]) ** 2
            distance += (self.y - a[1] - t * step[1]) ** 2
            distance += (self.z - a[2] - t * step[2]) ** 2
            inside |= distance < radius**2
        return inside


def phantom(
    seed: int,
    shape: tuple[int, int, int] = (128, 104, 112),
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0),
    center_z: float = -20.0,
) -> LabelVolume:
    """A torso of organs, bones, muscles, vessels and bowel inside a body envelope (200), without lesions.

    Args:
        seed: body size and all shapes follow from it.
        shape, spacing: grid ``[I, J, K]`` and its voxel size in mm.
        center_z: height in mm of the grid's centre above the dome of the diaphragm (chest > 0 > abdomen and pelvis).

    Returns:
        A :class:`LabelVolume` with an axis-aligned RAS affine.
    """
    rng = np.random.default_rng(seed)
    spacing_mm = np.asarray(spacing, float)
    canvas = _Canvas(shape, spacing_mm, np.array([0.0, 0.0, center_z]), rng)
    width, depth = rng.normal(168, 12), rng.normal(116, 9)
    _paint_body(canvas, width, depth)
    _paint_skeleton(canvas, width, depth)
    _paint_muscles(canvas, depth)
    _paint_chest(canvas, width, depth)
    _paint_abdomen(canvas, width, depth)
    _paint_bowel(canvas, width, depth)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing_mm + [0, 0, center_z]
    return LabelVolume(canvas.labels, affine)


def _paint_body(c: _Canvas, width: float, depth: float) -> None:
    hips = 1 + 0.06 * np.exp(-(((c.z + 300) / 120) ** 2))
    c.labels[(np.abs(c.x) / (width * hips)) ** 2.4 + (np.abs(c.y) / (depth * hips)) ** 2.3 < 1] = BODY


def _spine_y(depth: float) -> float:
    return -depth + 58


def _paint_skeleton(c: _Canvas, width: float, depth: float) -> None:
    y = _spine_y(depth)
    pitch = 28.0
    for index, label in enumerate(_VERTEBRAE):
        z = (_T10 - index) * pitch
        size = 0.75 + 0.3 * index / len(_VERTEBRAE)
        in_level = np.abs(c.z - z) < pitch / 2 - 2.5
        body = ((c.x / (23 * size)) ** 2 + ((c.y - y) / (17 * size)) ** 2 < 1) & in_level
        arch = ((np.abs(c.x) < 30 * size) & (np.abs(c.y - y + 24) < 4.5)) | (
            (np.abs(c.x) < 4) & (np.abs(c.y - y + 38) < 14)
        )
        c.paint(body | (arch & (np.abs(c.z - z) < 7)), label)
    c.paint(((c.x / 8) ** 2 + ((c.y - y + 25) / 7) ** 2 < 1) & (c.z > -190), 121, (BODY, *_VERTEBRAE))

    cage = (np.abs(c.x) / (width - 21)) ** 2.3 + (np.abs(c.y) / (depth - 17)) ** 2.2
    on_cage = np.abs(cage - 1) < 0.07
    for side, first in ((-1, 63), (1, 75)):
        for rib in range(12):
            start = (_T10 - rib) * pitch + 6
            along = np.abs(c.z - (start - 0.42 * (c.y - y))) < 5.5
            front = c.y < (depth - 34 if rib < 7 else 15 - 14 * (rib - 7))
            c.paint(on_cage & along & front & (side * c.x > 26), first + rib)
            if rib < 8:
                c.paint(on_cage & along & ~front & (side * c.x > 24), 114)
    c.paint((np.abs(c.x) < 17) & (np.abs(cage - 0.98) < 0.09) & (c.y > 0) & (c.z > 40) & (c.z < 215), 122)
    for side, label in ((-1, 89), (1, 90)):
        blade = np.abs(c.y + depth - 26 - 0.25 * (side * c.x - 60)) < 4
        c.paint(blade & (side * c.x > 55) & (side * c.x < 125) & (c.z > 110) & (c.z < 235), label)

    c.paint(c.ellipsoid((0, y - 8, -258), (40, 22, 18), 0.05), 127)
    c.paint(c.ellipsoid((0, y - 26, -305), (38, 15, 48), 0.05), 97)
    for side, hip, femur in ((-1, 95, 93), (1, 96, 94)):
        wing = np.abs(np.abs(c.x) - 48 - 0.72 * (c.y - y) - 0.18 * (c.z + 260)) < 9
        c.paint(wing & (side * c.x > 34) & (side * c.x < 138) & (c.z < -208) & (c.z > -318) & (c.y < 45), hip)
        c.paint(c.ellipsoid((side * 92, 5, -335), (26, 24, 24)), hip)
        c.paint(c.ellipsoid((side * 96, 5, -342), (21, 20, 20)), femur, (BODY, hip))
        c.paint(c.tube([(side * 98, 4, -344), (side * 130, 0, -366), (side * 125, 0, -460)], 16), femur)


def _paint_muscles(c: _Canvas, depth: float) -> None:
    y = _spine_y(depth)
    for side, back, psoas, maximus, medius, minimus in ((-1, 104, 106, 98, 100, 102), (1, 105, 107, 99, 101, 103)):
        c.paint(((c.x - side * 34) / 25) ** 2 + ((c.y - y + 33) / 17) ** 2 < 1, back)
        c.paint(
            c.tube(
                [(side * 34, y + 4, -60), (side * 46, y + 8, -180), (side * 74, y + 48, -290), (side * 92, 18, -360)],
                17,
            ),
            psoas,
        )
        c.paint(c.ellipsoid((side * 72, -depth + 32, -325), (58, 24, 62), 0.06), maximus)
        c.paint(c.ellipsoid((side * 118, -25, -262), (20, 42, 46), 0.06), medius)
        c.paint(c.ellipsoid((side * 102, -8, -285), (13, 28, 30), 0.06), minimus)


def _paint_chest(c: _Canvas, width: float, depth: float) -> None:
    y = _spine_y(depth)
    rng = c.rng
    inside = (np.abs(c.x) / (width - 31)) ** 2.3 + (np.abs(c.y) / (depth - 26)) ** 2.2 < 1
    apex = (c.z < 232) & (((c.z - 130).clip(0) / 110) ** 2 + (np.abs(c.x) / (width - 28)) ** 2 < 1)
    heart = c.ellipsoid((-26, 22, 62), (48, 40, 46), 0.06)
    upper, lower = rng.normal(88, 10), rng.normal(48, 8)
    for side, dome, lobes in ((1, rng.normal(8, 7), (32, 31, 30)), (-1, rng.normal(-4, 7), (29, 28, 28))):
        above = c.z > dome - 0.0017 * ((c.x - side * 72) ** 2 + (c.y - 4) ** 2)
        lung = inside & apex & above & (side * c.x > 17 + 10 * np.exp(-(((c.z - 90) / 60) ** 2))) & ~heart
        tilt = c.z + 0.75 * c.y
        c.paint(lung & (tilt < lower), lobes[0])
        c.paint(lung & (tilt >= lower) & (tilt < upper), lobes[1])
        c.paint(lung & (tilt >= upper), lobes[2])
    lungs = (28, 29, 30, 31, 32)
    c.paint(heart, 115)
    c.paint(c.tube([(4, y + 32, 260), (2, y + 36, 125)], 9), 57, (BODY, *lungs))
    for side in (-1, 1):
        c.paint(c.tube([(2, y + 36, 128), (side * 34, y + 40, 98)], 6.5), 132, (BODY, *lungs))
    arch = [(-14, y + 26, -260), (-17, y + 24, 60), (-20, y + 26, 128), (-8, 10, 146), (8, 22, 120), (2, 24, 88)]
    c.paint(c.tube(arch[:3], 11.5) | c.tube(arch[2:], 13.5), 6, (BODY, *lungs, 115))
    c.paint(c.tube([(26, 20, 175), (27, 16, 88)], 9.5), 125, (BODY, *lungs))
    c.paint(c.tube([(22, 34, 205), (26, 22, 172)], 7) | c.tube([(-40, 38, 205), (24, 30, 170)], 6), 110)
    c.paint(c.tube([(8, 22, 140), (18, 30, 190)], 6), 109)
    c.paint(c.tube([(-34, y + 46, 78), (34, y + 46, 74)], 8), 119, (BODY, *lungs))
    c.paint(c.tube([(-6, y + 24, 230), (-4, y + 26, 60), (-16, y + 34, -6)], 8), 11, (BODY, *lungs))
    for side in (-1, 1):
        c.paint(c.ellipsoid((side * 17, y + 46, 232), (10, 9, 24)), 126)


def _paint_abdomen(c: _Canvas, width: float, depth: float) -> None:
    y = _spine_y(depth)
    inside = (np.abs(c.x) / (width - 31)) ** 2.3 + (np.abs(c.y) / (depth - 26)) ** 2.2 < 1

    def organ(label: int, center: tuple, radii: tuple, jitter: float = 0.08, over: tuple[int, ...] = (BODY,)) -> None:
        moved = np.array(center) + c.rng.normal(0, 4, 3)
        c.paint(c.ellipsoid(moved, radii, jitter) & inside, label, over)

    c.paint(c.tube([(18, y + 30, 20), (22, y + 28, -60), (20, y + 27, -205)], 12), 7)
    for side, artery, vein in ((-1, 58, 60), (1, 59, 61)):
        c.paint(c.tube([(-12, y + 26, -200), (side * 55, y + 48, -300), (side * 70, 35, -360)], 6.5), artery)
        c.paint(c.tube([(18, y + 26, -205), (side * 58, y + 38, -300), (side * 80, 30, -365)], 7.5), vein)
    liver_y = 6
    liver = c.ellipsoid((74, liver_y, -42), (78, 84, 76), 0.06) | c.ellipsoid((0, 44, -30), (72, 40, 38), 0.08)
    c.paint(liver & inside, 1)
    c.paint(
        c.tube([(18, y + 36, -8), (55, 0, -18), (95, -20, -35)], 5) | c.tube([(24, y + 40, -10), (40, 40, -25)], 4),
        25,
        (1,),
    )
    organ(3, (-102, -34, -42), (30, 38, 50))
    organ(12, (-54, 26, -40), (40, 44, 44))
    organ(10, (56, 50, -92), (15, 15, 25), over=(BODY, 1))
    organ(5, (58, y + 18, -108), (27, 24, 52))
    organ(14, (-60, y + 18, -98), (27, 24, 52))
    for side, label in ((1, 8), (-1, 9)):
        organ(label, (side * 38, y + 26, -52), (6, 12, 14), over=(BODY, 1))
    head = (44, y + 62, -98)
    c.paint(
        (
            c.tube([head, (20, y + 74, -82), (-30, y + 66, -72), (-82, y + 42, -58)], 13)
            | c.ellipsoid(head, (20, 17, 24))
        )
        & inside,
        4,
    )
    c.paint(c.tube([(36, 2, -42), (22, y + 60, -66), (-30, y + 54, -64), (-88, y + 34, -52)], 6), 17, (BODY, 1, 4))
    c.paint(
        c.tube([(38, 20, -72), (66, y + 62, -88), (66, y + 54, -130), (20, y + 50, -142), (-16, y + 52, -128)], 12)
        & inside,
        13,
    )
    organ(15, (0, 30, -335), (38, 30, 30))
    organ(118, (0, 12, -378), (24, 19, 20))


def _paint_bowel(c: _Canvas, width: float, depth: float) -> None:
    rng = c.rng
    inside = (np.abs(c.x) / (width - 33)) ** 2.3 + (np.abs(c.y) / (depth - 28)) ** 2.2 < 1
    side = width - 58
    frame = [
        (side - 12, 6, -245), (side, 0, -190), (side - 4, 12, -128), (52, 52, -142), (-20, 58, -150), (-72, 50, -118),
        (-side, 4, -100), (-side, -6, -180), (-side + 16, 6, -240), (-44, 14, -282), (-12, -18, -300), (0, -52, -330),
    ]  # fmt: skip
    jittered = [tuple(np.array(p) + rng.normal(0, 5, 3)) for p in frame]
    c.paint(c.tube(jittered, rng.uniform(17, 23)) & inside, 62)
    for _ in range(rng.integers(10, 16)):
        start = np.array([rng.uniform(-75, 75), rng.uniform(-5, 55), rng.uniform(-285, -160)])
        loop = [tuple(start + rng.normal(0, 22, 3) * [1, 0.7, 0.7]) for _ in range(4)]
        c.paint(c.tube(loop, rng.uniform(10, 14)) & inside, 19)
