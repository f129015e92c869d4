"""Blocking until a job is over; scripts do it, panels never."""

from __future__ import annotations

import time
from typing import Protocol

INTERVAL = 0.01  # seconds


class Waitable(Protocol):
    """Work that goes on elsewhere."""

    done: bool

    def poll(self) -> bool:
        """Take in what happened, without blocking."""

    def cancel(self) -> None:
        """Stop it."""


def waitFor(job: Waitable, timeout: float | None, tooLong: str) -> None:
    """Return once ``job`` is done; Ctrl+C cancels it.

    Raises:
        TimeoutError: with the text ``tooLong``, after ``timeout`` seconds (None: never); the job goes on.
    """
    end = None if timeout is None else time.monotonic() + timeout
    try:
        while not job.done:
            job.poll()
            if end is not None and time.monotonic() > end and not job.done:
                raise TimeoutError(tooLong)
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        job.cancel()
        raise
