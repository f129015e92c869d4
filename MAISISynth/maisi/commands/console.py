"""What commands say while they work: a progress bar, tables, notes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tqdm import tqdm


class ProgressBar:
    """A bar on stderr for each stage, called with (stage, step, total)."""

    def __init__(self) -> None:
        self._stage, self._bar = "", None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, step: int, total: int) -> None:
        if stage != self._stage:
            self.__exit__()
            self._stage, self._bar = stage, tqdm(total=total, desc=stage, file=sys.stderr)
        self._bar.update(step - self._bar.n)


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_notes(notices: Iterable[str]) -> None:
    """Tell ``notices`` on stderr, a line for each."""
    for notice in notices:
        print(f"note: {notice}", file=sys.stderr)
