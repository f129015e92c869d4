"""What is going on in the folder of a training, wherever it runs: looked up now and then, never waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.train.metrics import Metrics
from maisi.train.run_folder import RunFolder, Status
from maisi.train.slurm import live_status
from MAISILib.Translate import _

LOOK_SECONDS = 2.0
QUEUE_SECONDS = 15.0  # SLURM is asked rarely: its controller serves the whole cluster


@dataclass(frozen=True)
class RunView:
    """How a training was at the last look.

    Attributes:
        exists: whether there is a training in the folder. status: state, step, time left.
        config: its configuration. launcher: who started it. rows: of metrics.jsonl that count, in their order.
        previews: volumes to look at, the oldest first. log: its last lines.
    """

    exists: bool
    status: Status
    config: Mapping[str, Any]
    launcher: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    previews: tuple[Path, ...]
    log: str

    def last(self, split: str = "train") -> Mapping[str, Any]:
        """The newest figures of ``split``; empty if there are none."""
        return next((row for row in reversed(self.rows) if row["split"] == split), {})


class RunWatcher:
    """Watches one folder. Each look has a thread of its own, so that a file share which hangs stops nobody.

    Attributes:
        view: how it was at the last look; None before the first one has ended. lookSeconds: between two looks.
    """

    def __init__(self, path: str | Path, lookSeconds: float = LOOK_SECONDS) -> None:
        self.folder = RunFolder(path)
        self.view: RunView | None = None
        self.lookSeconds = lookSeconds
        self._metrics = Metrics(self.folder.metrics)
        self._queue = _Queue(self.folder)
        self._next = 0.0  # when to look again
        self._thread: threading.Thread | None = None
        self._found: RunView | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    def poll(self) -> bool:
        """Take in what the last look saw, and look again when it is time; True if anything changed. Never blocks."""
        if self._thread is not None and self._thread.is_alive():
            return False
        changed = self._thread is not None and self._found is not None and self._found != self.view
        if self._thread is not None:
            self.view, self._thread = self._found or self.view, None
            self._next = time.monotonic() + self.lookSeconds
        elif time.monotonic() >= self._next:
            self._thread = threading.Thread(target=self._look, name="maisi-run-watcher", daemon=True)
            self._thread.start()
        return changed

    def hurry(self) -> None:
        """Look again at once: something was just done."""
        self._next = 0.0

    def look(self) -> RunView:
        """Look now, and wait for it. Raises InputError: there is no training in the folder."""
        if self._thread is not None:
            self._thread.join()
        self._look()
        self._thread, self.view = None, self._found
        if not self.view.exists:
            raise InputError(_("There is no training in {path}.").format(path=self.path))
        return self.view

    def waitForEnd(self, timeout: float | None = None) -> Status:
        """Look until the training has ended. Ctrl+C ends only the waiting.

        Raises:
            InputError: there is no training. TimeoutError: it goes on after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self.look().status.has_ended:
            if end is not None and time.monotonic() > end:
                text = _("The training in {path} is still {state} after {seconds:g} s.")
                raise TimeoutError(text.format(path=self.path, state=self.view.status.state, seconds=timeout))
            time.sleep(min(self.lookSeconds, 0.2))
        return self.view.status

    def _look(self) -> None:
        self._metrics.poll()
        facts, launcher = self.folder.facts(), self.folder.launcher()
        self._found = RunView(
            exists=bool(facts),
            status=self._queue.status(launcher),
            config=facts.get("config", {}),
            launcher=launcher,
            rows=tuple(self._metrics.rows),
            previews=tuple(self.folder.previews_of()),
            log=self.folder.log_tail(),
        )


class _Queue:
    """The status of a training, and of a job of SLURM what the queue said when it was asked last."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._next = 0.0
        self._about = self._said = Status("starting")  # what the folder told then, and the queue

    def status(self, launcher: Mapping[str, Any]) -> Status:
        told = self._folder.status()
        if "job" not in launcher:
            return told
        if told.state != self._about.state or time.monotonic() > self._next:
            self._about, self._said = told, live_status(self._folder)
            self._next = time.monotonic() + QUEUE_SECONDS
        if self._said.state == told.state and not self._said.sentence:
            return told
        return replace(told, state=self._said.state, sentence=self._said.sentence)
