"""A series on several processes: torchrun starts them, each makes its share, none needs a word from another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import maisi
from maisi.errors import MaisiError
from maisi.vary.folder import SeriesFolder


def run_processes(folder: SeriesFolder, count: int, progress: Callable[[str, int, int], None]) -> None:
    """Make the missing cases of the series in ``folder`` with ``count`` processes on this machine, and wait for them.

    Raises:
        MaisiError: a process ended before its share was made; what is done stays.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    with folder.log.open("ab") as log:  # torchrun says much, also when nothing is wrong
        launcher = subprocess.Popen(
            [*command, "-m", "maisi.vary", str(folder.path)], env=_environment(count), stdout=log, stderr=log
        )
    try:
        while launcher.poll() is None:
            status = folder.status()
            progress("cases", status.done + len(status.errors), status.total)
            time.sleep(0.3)
    finally:
        launcher.terminate()  # torchrun ends its processes when it is told to end
        launcher.wait()
    if launcher.returncode:
        raise MaisiError(
            f"One of the processes ended before its cases were made ({folder.log} tells why); run the same "
            "command again to make those that are missing."
        )


def _environment(count: int) -> dict[str, str]:
    """The processes find this package, and share the cores of this machine."""
    paths = [str(Path(maisi.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    threads = str(max((os.cpu_count() or 1) // count, 1))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
