"""The rows of a training's metrics.jsonl: written one by one, read while they grow. Standard library only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line to ``path``. Raises OSError."""
    with path.open("ab") as file:
        is_cut = False
        if file.tell():
            with path.open("rb") as before:
                before.seek(-1, os.SEEK_END)
                is_cut = before.read() != b"\n"  # the disk was full
        file.write(b"\n" * is_cut + json.dumps(row).encode() + b"\n")


class Metrics:
    """The rows of a metrics.jsonl that may still grow. :attr:`rows` are those that count, in their order."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        self._read_to = 0

    def poll(self) -> bool:
        """Read what is new; whether :attr:`rows` changed. Broken lines are left out, half ones wait for their end."""
        before = len(self.rows), self.rows[-1:]
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_to:  # another file is in its place
                    self.rows, self._read_to = [], 0
                file.seek(self._read_to)
                lines = file.read()
        except OSError:
            return False
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            self._take(line)
        return (len(self.rows), self.rows[-1:]) != before

    def series(self, name: str, split: str = "train") -> tuple[list[float], list[float]]:
        """Steps and values of one figure."""
        found = [(row["step"], row[name]) for row in self.rows if row["split"] == split and _is_number(row.get(name))]
        return [step for step, _ in found], [value for _, value in found]

    def names(self, split: str = "train") -> list[str]:
        """Figures that there are, in the order of their first appearance."""
        rows = (row for row in self.rows if row["split"] == split)
        found = {key: None for row in rows for key, value in row.items() if _is_number(value)}
        return [key for key in found if key not in ("step", "epoch", "time")]

    def last(self, split: str = "train") -> dict[str, Any]:
        """The newest row of ``split``; empty if there is none."""
        return next((row for row in reversed(self.rows) if row["split"] == split), {})

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            step, split = row["step"], row["split"]
        except (ValueError, TypeError, KeyError):
            return
        if not _is_number(step) or not isinstance(split, str):
            return
        if split == "resume":
            self.rows = [earlier for earlier in self.rows if earlier["step"] <= step]
        else:
            self.rows.append(row)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
