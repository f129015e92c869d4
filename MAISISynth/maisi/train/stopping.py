"""Ending a training, however it was started. Standard library only."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace

from maisi.errors import InputError
from maisi.train.run_folder import RunFolder
from maisi.train.slurm import cancel, job_state, live_status


def stop(run: RunFolder, now: bool = False) -> str:
    """Ask a training to stop with a checkpoint, or end it ``now``, whatever it does.

    Returns:
        A sentence that says what happens now.

    Raises:
        InputError: it has ended, the folder cannot be written, or another computer would have to end it.
    """
    status = live_status(run)
    if status.has_ended:
        raise InputError(f"The training in {run.path} has ended already ({status.state}).")
    if now:
        return _end(run)
    try:
        run.request_stop()
        job = run.launcher().get("job")
        if isinstance(job, int) and job_state(job) == "PENDING":
            cancel(job)
            run.write_status(replace(status, state="stopped", sentence="", time=time.time()))
            return f"Job {job} is taken out of SLURM's queue."
    except OSError as error:
        raise InputError(f"{run.stop_file} could not be written: {error}.") from error
    return "It will write a checkpoint and stop."


def _end(run: RunFolder) -> str:
    """torchrun is told by SIGTERM and kills those of its processes that have not ended after two minutes."""
    launcher = run.launcher()
    kind, job, pid, host = (launcher.get(key) for key in ("kind", "job", "pid", "host"))
    if isinstance(job, int):
        cancel(job)
        return f"Job {job} is canceled; it can go on from its last checkpoint."
    if not isinstance(pid, int) or host != socket.gethostname():
        place = f"on {host}" if host else "where it was started"
        raise InputError(f"This computer cannot end it; that can be done {place}.")
    try:
        os.kill(pid, signal.SIGTERM if kind == "local" else getattr(signal, "SIGKILL", signal.SIGTERM))
    except OSError as error:
        raise InputError(f"Process {pid} could not be ended ({error}).") from error
    return "It ends within two minutes; it can go on from its last checkpoint."
