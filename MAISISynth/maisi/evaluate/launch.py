"""Features on several processes: torchrun starts them, each computes its share into the cache."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from maisi import torchrun
from maisi.errors import MaisiError
from maisi.evaluate.feature_cache import Extractor
from maisi.files import write_json


def run_processes(
    extractor: Extractor, files: Sequence[Path], count: int, progress: Callable[[str, int, int], None]
) -> None:
    """Compute the features of ``files`` with ``count`` processes on this machine, and wait for them.

    Raises:
        MaisiError: a process ended before its share was done; what is done stays in the cache.
    """
    places = [extractor.place(path) for path in files]
    with tempfile.TemporaryDirectory(prefix="maisi-") as folder:
        job, log = Path(folder) / "job.json", Path(folder) / "log.txt"
        write_job(job, extractor, files)

        def watch() -> None:
            progress("features", sum(place.is_file() for place in places), len(places))

        try:
            torchrun.run_processes("maisi.evaluate", [str(job)], count, log, watch)
        except MaisiError as error:
            said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("maisi: ")]
            reason = said[0].removeprefix("maisi: ") if said else "it told no reason; try --nproc 1."
            raise MaisiError(f"One of the processes ended too early: {reason}") from error


def write_job(path: Path, extractor: Extractor, files: Sequence[Path]) -> None:
    """What ``python -m maisi.evaluate`` needs to know."""
    write_json(path, {"extractor": extractor.to_json(), "files": [str(file.absolute()) for file in files]})
