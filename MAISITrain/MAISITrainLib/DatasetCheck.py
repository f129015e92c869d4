"""What ``maisi prepare`` found in a data set, as rows for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from MAISILib.Translate import _

PROBLEMS = {
    "unreadable": _("cannot be read"),
    "geometry": _("geometry"),
    "slices": _("too few slices"),
    "modality": _("modality"),
    "intensity": _("intensities"),
    "spacing": _("spacing"),
    "labels": _("labels"),
    "organs": _("organs"),
    "duplicate": _("twice"),
}


@dataclass(frozen=True)
class DatasetReport:
    """What was found.

    Attributes:
        rows: case, whether it is used, problem, what is wrong and what to do; one for each finding, dropped cases
            first. cases, used: how many there are, and can be used.
    """

    rows: tuple[tuple[str, str, str, str], ...]
    cases: int
    used: int

    @property
    def summary(self) -> str:
        """One sentence."""
        text = _("{used} of {cases} cases can be used.")
        if not self.rows:
            text = _("All {cases} cases can be used; nothing was found to be wrong.")
        return text.format(used=self.used, cases=self.cases)


def readReport(prepared: str | Path) -> DatasetReport:
    """The report in the folder of a prepared data set, after ``maisi prepare --check``.

    Raises:
        InputError: there is none that can be read.
    """
    path = Path(prepared) / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = [_row(case, finding) for case in report["cases"] for finding in case["findings"]]
        summary = report["summary"]
        rows.sort(key=lambda row: row[1] == _("yes"))
        return DatasetReport(tuple(rows), summary["cases"], summary["used"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = _("{path} cannot be read ({reason}): check the data set again.")
        raise InputError(text.format(path=path, reason=error)) from error


def _row(case: dict[str, Any], finding: dict[str, str]) -> tuple[str, str, str, str]:
    used = _("yes") if case["used"] else _("no")
    return case["id"], used, PROBLEMS.get(finding["kind"], finding["kind"]), finding["text"]
