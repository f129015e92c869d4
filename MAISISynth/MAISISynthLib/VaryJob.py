"""A series in the making, in a process of its own; how far it has come is read from its folder."""

from __future__ import annotations

import atexit
import tempfile
import time
from collections import deque
from pathlib import Path

from maisi.protocol import Progress
from maisi.vary.folder import SeriesFolder, Status
from MAISILib.ChildProcess import ChildProcess, describeExit
from MAISILib.Job import LOG_LINES, JobCancelled, JobError
from MAISILib.Translate import _
from MAISILib.Waiting import waitFor

_PREFIX = "maisi: "  # of the sentence with which the command line ends when something is wrong
LOOK_SECONDS = 2.0  # between two looks into the folder


class VaryJob:
    """A series that is running or over; made by ``VaryLogic.start``.

    Call ``poll()`` regularly until ``done``, or ``wait()`` once. After ``cancel()``, what is complete stays; starting
    the same series again goes on from there.

    Attributes:
        state: "running", "done", "failed" or "cancelled"; failed also where some cases could not be made.
        status: how many cases there are, are complete, and failed with which sentence.
        error: one sentence when state is "failed".
        log: the last lines that the process printed.
    """

    def __init__(self, process: ChildProcess, folder: Path, temporary: tempfile.TemporaryDirectory) -> None:
        """``temporary``: folder of the input files, removed when the process has ended."""
        self.state, self.error = "running", ""
        self.status = Status(0, 0, {})
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._process, self._temporary = process, temporary
        self._folder = SeriesFolder(folder)
        self._looked = 0.0
        atexit.register(self.cancel)  # the process must not outlive the application

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self.state != "running"

    @property
    def progress(self) -> Progress | None:
        """Cases that are over, of all; None before the plan is made."""
        tried = self.status.done + len(self.status.errors)
        return Progress(0, "cases", tried, self.status.total) if self.status.total else None

    def poll(self) -> bool:
        """Take in what happened, without blocking; True if anything changed."""
        before = self.state, self.status, len(self.log)
        self._takeLines()
        ended = not self.done and self._process.exitCode is not None
        if ended or (not self.done and time.monotonic() > self._looked + LOOK_SECONDS):
            self.status, self._looked = self._folder.status(), time.monotonic()
        if ended:
            code = self._process.exitCode
            self._end("done" if code == 0 else "failed")
            self.error = self._sentence(code) if code else ""
        return (self.state, self.status, len(self.log)) != before

    def cancel(self) -> None:
        """Stop now; complete cases stay."""
        if not self.done:
            self._end("cancelled")

    def wait(self, timeout: float | None = None) -> Status:
        """Block until it is over; Ctrl+C cancels.

        Raises:
            JobError: it failed, or some cases did. JobCancelled: it was cancelled.
            TimeoutError: it is still running after ``timeout`` seconds (and goes on).
        """
        waitFor(self, timeout, _("The series is not complete after {seconds} s.").format(seconds=timeout))
        if self.state == "cancelled":
            raise JobCancelled
        if self.error:
            raise JobError(self.error, "input")
        return self.status

    def _end(self, state: str) -> None:
        atexit.unregister(self.cancel)
        self._process.end()
        self._takeLines()
        self.state = state
        self._temporary.cleanup()

    def _takeLines(self) -> None:
        while not self._process.lines.empty():
            self.log.append(self._process.lines.get()[1])

    def _sentence(self, code: int) -> str:
        """The last sentence of the command line; without one, how the process ended."""
        told = [line.removeprefix(_PREFIX) for line in self.log if line.startswith(_PREFIX)]
        return told[-1] if told else _("The series ended unexpectedly ({reason}).").format(reason=describeExit(code))
