"""The HU quality check: is the median HU of each organ what it is in real CTs (FACTS 4). It is for CT only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from maisi.errors import InputError
from maisi.labels import BONES, KIDNEYS, LUNGS, MUSCLES
from maisi.volume import ImageVolume, LabelVolume

MIN_VOXELS = 50  # a median of fewer says little


@dataclass(frozen=True)
class Band:
    """Where the median HU of an organ may lie.

    Attributes:
        reference: published with MAISI; else set by this project or learned from the user's images.
        min_voxels: an organ of fewer is not judged.
    """

    name: str
    ids: tuple[int, ...]
    low: float
    high: float
    reference: bool = True
    min_voxels: int = MIN_VOXELS


# Low and high of the medians over MAISI's training images. Lung has all five lobes, where the reference forgot 32.
BANDS = (
    Band("liver", (1,), -21.60, 162.00),
    Band("spleen", (3,), -43.13, 184.08),
    Band("pancreas", (4,), -56.59, 149.51),
    Band("kidney", KIDNEYS, -130.56, 267.28),
    Band("lung", LUNGS, -1088.56, -366.95),
    Band("bone", BONES, 71.40, 1000.00),
    Band("brain", (22,), -951.00, 369.51),
    Band("muscle", MUSCLES, -30.00, 120.00, reference=False),
)
# Exactly what the reference judges: its own organs, however small, and its lung without the right lower lobe.
COMPATIBLE_BANDS = tuple(
    replace(band, ids=tuple(id_ for id_ in band.ids if id_ != 32), min_voxels=1) for band in BANDS if band.reference
)


@dataclass(frozen=True)
class OrganReading:
    """One organ: its median HU and whether that lies from ``low`` to ``high``. ``reference``: see :class:`Band`."""

    name: str
    ids: tuple[int, ...]
    median_hu: float
    low: float
    high: float
    voxels: int
    passed: bool
    reference: bool = True


def check_hu(image: ImageVolume, labels: LabelVolume, bands: Sequence[Band] = BANDS) -> list[OrganReading]:
    """Readings of the organs that ``labels`` has, lesions not counted in. Too small organs are left out.

    Raises:
        InputError: image and labels lie on different grids.
    """
    readings = []
    for band, values in zip(bands, organ_values(image, labels, [band.ids for band in bands]), strict=True):
        if values.size >= max(band.min_voxels, 1):
            median = float(np.median(values))
            passed = band.low <= median <= band.high
            readings.append(
                OrganReading(band.name, band.ids, median, band.low, band.high, values.size, passed, band.reference)
            )
    return readings


def organ_values(image: ImageVolume, labels: LabelVolume, organs: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The image values of each organ, in any order. ``organs``: the ids of each; no id is in two of them.

    One pass over the volume, slab by slab as they lie in memory, so that a slab stays in the processor's cache.

    Raises:
        InputError: image and labels lie on different grids.
    """
    if not image.same_grid(labels):
        raise InputError("The CT and the labels lie on different grids; resample one to the other.")
    organ_of = np.zeros(256, np.uint8)  # 0: no organ
    for number, ids in enumerate(organs, 1):
        organ_of[list(ids)] = number
    parts: list[list[np.ndarray]] = [[image.array[:0].ravel()] for _ in organs]
    slowest = int(np.argmax(image.array.strides))
    for slab, values in zip(*(np.moveaxis(v.array, slowest, 0) for v in (labels, image)), strict=True):
        numbers = organ_of[slab]
        for number in np.flatnonzero(np.bincount(numbers.ravel())[1:]):
            parts[number].append(values[numbers == number + 1])
    return [np.concatenate(part) for part in parts]


def hu_report(readings: Sequence[OrganReading]) -> dict[str, Any]:
    """The readings as a JSON-able dictionary: ``organs``, ``passed`` and ``total``."""
    organs = [asdict(reading) for reading in readings]
    return {"organs": organs, "passed": sum(reading.passed for reading in readings), "total": len(readings)}


def hu_table(readings: Sequence[OrganReading]) -> str:
    """The readings as text, a line for each organ."""
    lines = [f"{'organ':<10} {'median HU':>10} {'from':>8} {'to':>8} {'voxels':>10}"]
    for r in readings:
        mark = "" if r.reference else "*"
        verdict = "ok" if r.passed else "OUTSIDE"
        lines.append(f"{r.name + mark:<10} {r.median_hu:>10.1f} {r.low:>8.1f} {r.high:>8.1f} {r.voxels:>10}  {verdict}")
    lines.append(f"{sum(r.passed for r in readings)} of {len(readings)} organs in range")
    if not all(r.reference for r in readings):
        lines.append("* range not published with MAISI: set by this project or learned from your images")
    return "\n".join(lines)
