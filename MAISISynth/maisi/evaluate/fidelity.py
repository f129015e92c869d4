"""Lesion fidelity over a data set: do lesions have the contrast that their kind has in real CTs?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from maisi.checks.fidelity import LesionReading, Segment, read_lesions
from maisi.datasets import Dataset
from maisi.errors import InputError
from maisi.evaluate.report import Report, number, share
from maisi.labels import LABELS
from maisi.volume import ImageVolume

# Brighter or darker than the host in portal-venous CT, where no reference data set tells.
USUAL_SIGN = {23: 1, 24: -1, 26: -1, 27: 1, 128: -1, 129: -1, 116: -1, 117: -1}
TOLERANCE = 0.4  # of the size of the contrast
MIN_MM = 10.0  # smaller lesions are read but not judged


def evaluate_fidelity(
    dataset: Dataset,
    reference: Dataset | None = None,
    segmenter: Callable[[ImageVolume], Segment] | None = None,
    min_mm: float = MIN_MM,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Contrast of the lesions of a data set.

    Args:
        reference: real images; the median contrast of a kind of lesion in them is what is expected of it. None: only
            the sign is judged. segmenter: finds lesions in an image; None: a threshold, see
            :func:`maisi.checks.fidelity.read_lesions`. min_mm: diameter from which lesions are judged.

    Raises:
        InputError: a file cannot be read, or there is no lesion of that size.
    """
    expected = expected_contrasts(_all(reference, None, progress), min_mm) if reference else {}
    cases = _all(dataset, segmenter, progress)
    settings = {"dataset": dataset.name, "reference": reference and reference.name, "dice_of": "threshold"}
    if segmenter is not None:
        settings["dice_of"] = getattr(segmenter, "name", "segmenter")
    return fidelity_report(settings, cases, expected, min_mm)


def expected_contrasts(cases: Sequence[tuple[str, Sequence[LesionReading]]], min_mm: float) -> dict[int, float]:
    """Kind of lesion -> median contrast in HU of those that are large enough."""
    by_kind = _by_kind([reading for _, readings in cases for reading in readings if reading.diameter_mm >= min_mm])
    return {kind: float(np.median([r.contrast_hu for r in readings])) for kind, readings in by_kind.items()}


def fidelity_report(
    settings: dict[str, Any],
    cases: Sequence[tuple[str, Sequence[LesionReading]]],
    expected: Mapping[int, float],
    min_mm: float,
) -> Report:
    """The report of readings by case. Raises InputError: no lesion is large enough."""
    large = [reading for _, readings in cases for reading in readings if reading.diameter_mm >= min_mm]
    if not large:
        count = sum(len(readings) for _, readings in cases)
        raise InputError(
            f"None of {count} lesions with a host organ around them, in {len(cases)} cases, has a diameter of "
            f"{min_mm:g} mm or more; give label maps with lesions and their organs, or a smaller --min-mm."
        )
    rows = [("LESION", "COUNT", "CONTRAST HU", "EXPECTED", "RIGHT SIGN", f"WITHIN {TOLERANCE:.0%}", "DICE")]
    kinds = {LABELS[kind].name: _kind(readings, expected.get(kind)) for kind, readings in _by_kind(large).items()}
    kinds["all"] = _total(kinds.values())
    for name, found in kinds.items():
        sized = share(found["right_size"], found["sized"])
        figures = number(found["contrast_hu"]), number(found["expected_hu"])
        signed = share(found["right_sign"], found["count"])
        rows.append((name, str(found["count"]), *figures, signed, sized, number(found["dice"], 2)))
    details = [{"case": case, "name": r.name, **asdict(r)} for case, readings in cases for r in readings]
    settings = {**settings, "min_mm": min_mm, "tolerance": TOLERANCE, "cases": len(cases)}
    return Report("fidelity", rows, {**settings, "lesions": kinds, "details": details})


def _all(
    dataset: Dataset,
    segmenter: Callable[[ImageVolume], Segment] | None,
    progress: Callable[[str, int, int], None],
) -> list[tuple[str, list[LesionReading]]]:
    scans, found = dataset.labelled, []
    for done, scan in enumerate(scans, 1):
        image, labels = dataset.read_pair(scan)
        found.append((scan.case, read_lesions(image, labels, segmenter and segmenter(image))))
        progress(dataset.name, done, len(scans))
    return found


def _by_kind(readings: Sequence[LesionReading]) -> dict[int, list[LesionReading]]:
    kinds = sorted({reading.kind for reading in readings})
    return {kind: [reading for reading in readings if reading.kind == kind] for kind in kinds}


def _kind(readings: Sequence[LesionReading], expected: float | None) -> dict[str, Any]:
    contrasts = np.array([reading.contrast_hu for reading in readings])
    sign = USUAL_SIGN.get(readings[0].kind, -1) if expected is None else np.sign(expected)
    sized = 0 if expected is None else len(readings)
    return {
        "count": len(readings),
        "contrast_hu": float(np.median(contrasts)),
        "expected_hu": expected,
        "right_sign": int((np.sign(contrasts) == sign).sum()),
        "sized": sized,
        "right_size": int((np.abs(contrasts / expected - 1) <= TOLERANCE).sum()) if sized else 0,
        "dice": float(np.mean([reading.dice for reading in readings])),
    }


def _total(kinds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    kinds = list(kinds)
    total = {key: sum(kind[key] for kind in kinds) for key in ("count", "right_sign", "sized", "right_size")}
    dice = sum(kind["dice"] * kind["count"] for kind in kinds) / total["count"]
    return {**total, "contrast_hu": None, "expected_hu": None, "dice": dice}
