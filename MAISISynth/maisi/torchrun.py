"""Several processes on this machine, started by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import maisi


def torchrun(arguments: Sequence[str], count: int, log: Path, watch: Callable[[], None]) -> int:
    """Run ``python -m ARGUMENTS`` in ``count`` processes and wait for them; returns the exit code.

    Args:
        log: what they say is added to it. watch: called about three times a second; where it raises, they are ended.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    with log.open("ab") as file:  # torchrun says much, also when nothing is wrong
        launcher = subprocess.Popen([*command, "-m", *arguments], env=_environment(count), stdout=file, stderr=file)
    try:
        while launcher.poll() is None:
            watch()
            time.sleep(0.3)
    finally:
        launcher.terminate()  # torchrun ends its processes when it is told to end
        launcher.wait()
    return launcher.returncode


def _environment(count: int) -> dict[str, str]:
    """The processes find this package, and share the cores of this machine."""
    paths = [str(Path(maisi.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    threads = str(max((os.cpu_count() or 1) // count, 1))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
