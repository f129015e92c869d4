"""The HU quality check over a data set (FACTS 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from maisi.checks.hu import BANDS, Band, OrganReading, check_hu
from maisi.datasets import Dataset
from maisi.evaluate.report import Report, number, share


def evaluate_hu(
    dataset: Dataset, bands: Sequence[Band] = BANDS, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Report:
    """The quality check of every scan that has labels.

    Raises:
        InputError: a file cannot be read, or no scan has labels.
    """
    scans, cases = dataset.labelled, []
    for done, scan in enumerate(scans, 1):
        cases.append((scan.case, check_hu(*dataset.read_pair(scan), bands)))
        progress("check", done, len(scans))
    return hu_report({"dataset": dataset.name}, cases)


def hu_report(source: dict[str, Any], cases: Sequence[tuple[str, Sequence[OrganReading]]]) -> Report:
    """The report of readings by case."""
    summary = summarize(readings for _, readings in cases)
    rows = [("ORGAN", "CASES", "IN RANGE", "MEDIAN HU", "LOWEST", "HIGHEST", "FROM", "TO")]
    for name, organ in summary["organs"].items():
        figures = (number(organ[key]) for key in ("median_hu", "lowest_hu", "highest_hu", "from_hu", "to_hu"))
        rows.append((name, str(organ["cases"]), share(organ["in_range"], organ["cases"]), *figures))
    rows.append(("all", str(summary["cases"]), share(summary["in_range"], summary["readings"])))
    rows[-1] += ("",) * (len(rows[0]) - len(rows[-1]))
    details = [{"case": case, "organs": [asdict(reading) for reading in readings]} for case, readings in cases]
    return Report("hu", rows, {**source, **summary, "details": details})


def summarize(cases: Sequence[Sequence[OrganReading]]) -> dict[str, Any]:
    """Counts, and for each organ its medians over the cases in which it is."""
    cases = [list(readings) for readings in cases]
    readings = [reading for case in cases for reading in case]
    by_name: dict[str, list[OrganReading]] = {}
    for reading in readings:
        by_name.setdefault(reading.name, []).append(reading)
    return {
        "cases": len(cases),
        "cases_passed": sum(all(reading.passed for reading in case) for case in cases),
        "readings": len(readings),
        "in_range": sum(reading.passed for reading in readings),
        "organs": {name: _organ(found) for name, found in by_name.items()},
    }


def _organ(readings: Sequence[OrganReading]) -> dict[str, Any]:
    medians = [reading.median_hu for reading in readings]
    return {
        "cases": len(readings),
        "in_range": sum(reading.passed for reading in readings),
        "median_hu": float(np.median(medians)),
        "lowest_hu": min(medians),
        "highest_hu": max(medians),
        "from_hu": readings[0].low,
        "to_hu": readings[0].high,
    }
