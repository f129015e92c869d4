"""A series on several processes: torchrun starts them, each makes its share."""

from __future__ import annotations

from collections.abc import Callable

from maisi.torchrun import run_processes as run
from maisi.vary.folder import SeriesFolder


def run_processes(folder: SeriesFolder, count: int, progress: Callable[[str, int, int], None]) -> None:
    """Make the missing cases of the series in ``folder`` with ``count`` processes on this machine, and wait for them.

    Raises:
        MaisiError: a process ended before its share was made; what is done stays.
    """

    def watch() -> None:
        status = folder.status()
        progress("cases", status.done + len(status.errors), status.total)

    run("maisi.vary", [str(folder.path)], count, folder.log, watch)
