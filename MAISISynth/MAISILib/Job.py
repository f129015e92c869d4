"""One request to the worker, seen from the application. Panel, scripts and browser use this same object."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from maisi.protocol import Estimate, Estimated, Progress, Result, Synthesize
from MAISILib.Waiting import waitFor

if TYPE_CHECKING:
    from MAISILib.Worker import Worker

LOG_LINES = 200


class JobError(RuntimeError):
    """The job failed; the text is its error sentence, ``kind`` one of "oom", "weights", "input", "connection",
    "internal"."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class JobCancelled(Exception):
    """The job was cancelled."""


class Job:
    """A request that is waiting, being done or over. Made by ``Worker.submit``.

    Call ``poll()`` regularly until ``done`` (the panel's timer does), or ``wait()`` once (scripts do). After
    ``cancel()`` keep polling too: a worker that does not answer is ended by a later poll.

    Attributes:
        state: "queued", "starting" (the worker process comes up), "running", "done", "failed" or "cancelled".
        progress: the newest progress event, or None.
        result: the result event when state is "done".
        error: one sentence of what went wrong and what to do, then perhaps log lines, when state is "failed".
        errorKind: "oom", "weights", "input", "connection" or "internal", when state is "failed".
        log: the last lines that the worker printed during this job.
    """

    def __init__(self, worker: Worker, request: Synthesize | Estimate) -> None:
        self.request = request
        self.state = "queued"
        self.progress: Progress | None = None
        self.result: Result | Estimated | None = None
        self.error = ""
        self.errorKind = ""
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._worker = worker
        self._changed = True

    @property
    def done(self) -> bool:
        """Whether the job is over, well or not."""
        return self.state in ("done", "failed", "cancelled")

    def poll(self) -> bool:
        """Take in what the worker said since, without blocking; True if anything about this job changed."""
        self._worker.poll()
        changed, self._changed = self._changed, False
        return changed

    def cancel(self) -> None:
        """Ask to stop. A job that has not reached the worker is cancelled at once, a running one within seconds."""
        self._worker.cancel(self)

    def wait(self, timeout: float | None = None) -> Result | Estimated:
        """Block until the job is over; interrupting with Ctrl+C cancels the job.

        Raises:
            JobError: the job failed. JobCancelled: it was cancelled.
            TimeoutError: it is still running after ``timeout`` seconds (and goes on).
        """
        waitFor(self, timeout, f"The job is not over after {timeout} s.")
        if self.state == "cancelled":
            raise JobCancelled
        if self.state == "failed":
            raise JobError(self.error, self.errorKind)
        return self.result

    def update(self, **values: Any) -> None:
        """Set attributes and remember the change; for the Worker only."""
        for name, value in values.items():
            setattr(self, name, value)
        self._changed = True

    def addLog(self, line: str) -> None:
        """Append one line of the worker's output; for the Worker only."""
        self.log.append(line)
        self._changed = True
