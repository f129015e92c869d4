"""The folder of a series: where everything stands, and how far it has come.

``series.json`` holds the request and the plan; ``cases/NAME.json`` the record of a case, written last, so that a case
is done when its record says so; ``imagesTr`` and ``labelsTr`` the volumes. Reading it needs the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDING = ".nii.gz"
PLAN, MANIFEST, DATASET, DATALIST, SPLITS = (
    "series.json",
    "manifest.jsonl",
    "dataset.json",
    "datalist.json",
    "splits_final.json",
)
PARTS = ".parts"  # cases in the making
LOG = "log.txt"  # of processes that torchrun starts


@dataclass(frozen=True)
class Status:
    """How many cases there are, are done, have failed; and a sentence for each that failed, by name."""

    total: int
    done: int
    errors: dict[str, str]


class SeriesFolder:
    """Names and records in a series' folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan, self.parts, self.log = path / PLAN, path / PARTS, path / LOG

    def image(self, case: str) -> Path:
        """The CT of a case; 0000 is nnU-Net's number of its only channel."""
        return self.path / "imagesTr" / f"{case}_0000{ENDING}"

    def label(self, case: str) -> Path:
        """The label map of a case, in the classes of the data set."""
        return self.path / "labelsTr" / f"{case}{ENDING}"

    def record(self, case: str) -> Path:
        """What is known about a case."""
        return self.path / "cases" / f"{case}.json"

    def relative(self, path: Path) -> str:
        """How the files of the folder name each other."""
        return path.relative_to(self.path).as_posix()

    def read_record(self, case: str) -> dict[str, Any]:
        """The record of a case; empty where there is none that can be read."""
        return _read_json(self.record(case))

    def is_done(self, case: str) -> bool:
        """Whether the case is complete: its record says so, and its files have the sizes that stand there."""
        return self._is_whole(self.read_record(case))

    def done(self, cases: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The records of the complete ones of ``cases``."""
        records = {case: self.read_record(case) for case in cases}
        return {case: record for case, record in records.items() if self._is_whole(record)}

    def status(self) -> Status:
        """How far the series has come; of a folder without a plan: nothing of nothing."""
        cases = [item["case"] for item in _read_json(self.plan).get("items", [])]
        records = {case: self.read_record(case) for case in cases}
        done = sum(map(self._is_whole, records.values()))
        return Status(len(cases), done, {c: r["error"] for c, r in records.items() if r.get("status") == "failed"})

    def _is_whole(self, record: dict[str, Any]) -> bool:
        if record.get("status") != "done":
            return False
        files = (record["image"], record["label"])
        try:
            return all((self.path / file["file"]).stat().st_size == file["bytes"] for file in files)
        except OSError:
            return False


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
