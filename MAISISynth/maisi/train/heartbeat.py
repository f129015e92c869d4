"""How a training says that it is alive: status.json, every few seconds. Standard library only."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

from maisi.train.run_folder import RunFolder, Status

SECONDS = 5.0


class Heartbeat:
    """Keeps status.json up to date while its block runs. A disk that is full does not stop it."""

    def __init__(self, run: RunFolder, writes: bool = True) -> None:
        """Args: writes: only one process of a training does."""
        self._run, self._writes = run, writes
        self._status, self._lock = run.last_status() or Status("starting"), threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self.say(state="starting", sentence="", seconds_left=None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._repeat()

    def set(self, **changes: Any) -> None:
        """Change fields of the status; they are written with the next beat."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def say(self, **changes: Any) -> None:
        """Change fields of the status and write it now."""
        self.set(**changes)
        self._write()

    def _beat(self) -> None:
        while not self._end.wait(SECONDS):
            self._repeat()

    def _repeat(self) -> None:
        """An end is told once: told again it could pass for that of a sitting that was started meanwhile."""
        if not self._status.has_ended:
            self._write()

    def _write(self) -> None:
        if self._writes:
            with contextlib.suppress(OSError), self._lock:
                self._run.write_status(replace(self._status, time=time.time()))
