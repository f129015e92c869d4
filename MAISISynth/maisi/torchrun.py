"""Work shared by several processes on this machine, which torchrun starts; none needs a word from another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import maisi
from maisi.errors import Cancelled, MaisiError

POLL_SECONDS = 0.3


def run_processes(
    module: str, arguments: Sequence[str], count: int, log: Path, watch: Callable[[], None] = lambda: None
) -> None:
    """Run ``python -m MODULE ARGUMENTS`` in ``count`` processes, and wait for them.

    Args:
        log: file that what they say is added to. watch: called again and again meanwhile.

    Raises:
        MaisiError: a process ended before its work was done.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    with log.open("ab") as said:  # torchrun says much, also when nothing is wrong
        launcher = subprocess.Popen(
            [*command, "-m", module, *arguments], env=environment(count), stdout=said, stderr=said
        )
    try:
        while launcher.poll() is None:
            watch()
            time.sleep(POLL_SECONDS)
    finally:
        launcher.terminate()  # torchrun ends its processes when it is told to end
        launcher.wait()
    if launcher.returncode:
        raise MaisiError(
            f"One of the processes ended before its cases were made ({log} tells why); run the same "
            "command again to make those that are missing."
        )


def environment(count: int) -> dict[str, str]:
    """The processes find this package, and share the cores of this machine."""
    paths = [str(Path(maisi.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    threads = str(max((os.cpu_count() or 1) // count, 1))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_share(work: Callable[[int, int, Callable[[], bool]], None]) -> int:
    """In a process that torchrun started: ``work(rank, world, cancelled)``, cancelled once torchrun is gone.

    Returns:
        The exit code: 0 also where cases failed, since another code would end the other processes.
    """
    rank, world, launcher = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), os.getppid()
    try:
        work(rank, world, lambda: os.getppid() != launcher)
    except Cancelled:
        return 130
    except MaisiError as error:
        print(f"maisi: {error}", file=sys.stderr)
        return 2
    return 0


def own_device(wanted: str) -> str:
    """The GPU of this process, where there are some and ``wanted`` is "auto"."""
    import torch

    count = torch.cuda.device_count() if wanted == "auto" else 0
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % count}" if count else wanted
