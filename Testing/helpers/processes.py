"""Small helpers for tests that start and watch real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def waitUntil(condition: Callable[[], T], seconds: float = 20.0) -> T:
    """The first true value of ``condition``; fails the test if there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def hasEnded(process: psutil.Process) -> bool:
    """Whether a process is gone; one that only waits to be reaped by its parent counts as gone.

    A killed process whose first thread is a zombie while others still die cannot be reaped yet: that is not gone.
    """
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return process.num_threads() <= 1
        return not process.is_running()
    except psutil.NoSuchProcess:
        return True
