"""A child process with a group of its own, and how to end the whole group. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any

WINDOWS = os.name == "nt"


def own_group() -> dict[str, Any]:
    """Options of ``subprocess.Popen`` for a child that :func:`kill_group` can end with all its descendants."""
    if WINDOWS:  # no console window over the application; taskkill needs no group
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill_group(pid: int) -> None:
    """Kill the process ``pid``, started with :func:`own_group`, and its descendants.

    On POSIX the group outlives its leader, so this also finds orphans; on Windows only while the process lives.
    """
    if WINDOWS:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left (macOS: EPERM for zombies)
        os.killpg(pid, signal.SIGKILL)
