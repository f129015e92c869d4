"""The application's end of the worker process: starts it when needed, hands it one job at a time, ends it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import threading
import time
from collections import deque
from dataclasses import replace

from maisi.protocol import (
    Cancel,
    Estimate,
    Estimated,
    Failure,
    Hello,
    Message,
    Progress,
    ProtocolError,
    Quit,
    Result,
    Synthesize,
    VersionError,
    decode,
    encode,
)
from MAISILib.ChildProcess import ChildProcess, describeExit
from MAISILib.ErrorAdvice import advise
from MAISILib.Interpreter import Interpreter, InterpreterError
from MAISILib.Job import Job
from MAISILib.Translate import _

WORKER_ARGUMENTS = ("-m", "maisi.worker", "--own-group")
LOG_LINES_SHOWN = 5


class Worker:
    """Client of ``python -m maisi.worker``; the process starts with the first job and is kept for the next ones.

    It does nothing by itself: some job's ``poll()`` or ``wait()`` (or ``poll()`` here) must be called for events to be
    taken in. Methods may be called from any thread.

    Attributes:
        hello: versions and devices that the running worker told, or None while there is none.
    """

    def __init__(
        self,
        interpreter: Interpreter | None = None,
        arguments: tuple[str, ...] = WORKER_ARGUMENTS,
        helloTimeout: float = 120.0,
        cancelTimeout: float = 3.0,
    ) -> None:
        """``interpreter``: which Python runs the worker, and where; asked again for every job, so settings take
        effect with the next one."""
        self.hello: Hello | None = None
        self._interpreter = interpreter or Interpreter()
        self._arguments = arguments
        self._helloTimeout = helloTimeout
        self._cancelTimeout = cancelTimeout
        self._jobs: deque[Job] = deque()  # the first one is the worker's; the others wait here
        self._numbers = itertools.count(1)
        self._process: ChildProcess | None = None
        self._deadline: float | None = None  # of the hello, or of the answer to a cancel
        self._cancelling = False
        self._lock = threading.RLock()

    def submit(self, request: Synthesize | Estimate) -> Job:
        """Queue a request and return its job at once; ``request.job`` is filled in here."""
        with self._lock:
            job = Job(self, replace(request, job=next(self._numbers)))
            self._jobs.append(job)
            self.poll()  # notices first if an idle process has died since
            return job

    def poll(self) -> None:
        """Take in all that the process said, without blocking, and send the next job when it is free."""
        with self._lock:
            if self._process is not None:
                self._takeLines(self._process)
            if self._process is not None and self._process.exitCode is not None:
                self._takeEnd()
            elif self._deadline is not None and time.monotonic() > self._deadline:
                self._takeTimeout()
            self._advance()

    def cancel(self, job: Job) -> None:
        """See ``Job.cancel``."""
        with self._lock:
            if job.done or (job.state == "running" and self._cancelling):
                return
            if job.state == "running":
                self._cancelling = True
                self._deadline = time.monotonic() + self._cancelTimeout
                self._send(Cancel(job=job.request.job))
            else:
                self._jobs.remove(job)
                job.update(state="cancelled")
                self._advance()

    def close(self) -> None:
        """End the process and all its children; open jobs become cancelled. A later ``submit`` starts afresh."""
        with self._lock:
            self._send(Quit())
            self._endProcess(patience=1.0)
            while self._jobs:
                self._finish(state="cancelled")

    # ---- from queued to running

    def _advance(self) -> None:
        """Bring the first job one state further if possible: start the process for it, or send it."""
        job = self._jobs[0] if self._jobs else None
        if job is None or job.state == "running":
            return
        if self._process is not None and job.state == "queued" and self._isOutdated():
            self._endProcess(patience=1.0)
        if self._process is None:
            self._start()
        elif self.hello is not None:
            job.update(state="running")
            self._send(job.request)
        elif job.state == "queued":
            job.update(state="starting")

    def _isOutdated(self) -> bool:
        """Whether the settings name another Python or machine than that of the process."""
        try:
            return self._interpreter.workerCommand(*self._arguments) != self._process.command
        except InterpreterError:  # _start tells
            return True

    def _start(self) -> None:
        try:
            command = self._interpreter.workerCommand(*self._arguments)
            self._process = ChildProcess(command, self._interpreter.environment())
        except (OSError, InterpreterError) as error:
            self._fail(_("The MAISI worker could not be started: {reason}").format(reason=error))
            return
        atexit.register(self.close)
        self._deadline = time.monotonic() + self._helloTimeout
        self._advance()

    def _send(self, message: Message) -> None:
        if self._process is None:
            return
        with contextlib.suppress(OSError):  # it just died; the next poll finds its exit code and says so
            self._process.send(encode(message))

    # ---- what comes back

    def _takeLines(self, process: ChildProcess) -> None:
        while not process.lines.empty():
            pipe, line = process.lines.get()
            try:
                if pipe == "stderr":
                    raise ProtocolError
                self._takeEvent(decode(line))
            except VersionError as error:
                self._takeForeigner(error)
            except ProtocolError:  # whatever a library prints
                if self._jobs:
                    self._jobs[0].addLog(line)

    def _takeEvent(self, event: Message) -> None:
        job = self._jobs[0] if self._jobs else None
        if isinstance(event, Hello):
            self.hello, self._deadline = event, None
        elif isinstance(event, Failure) and event.error == "connection":
            self._endAndFail(event.message, event.error)
        elif job is None or getattr(event, "job", None) not in (0, job.request.job):
            return  # a late word about a job that is over
        elif isinstance(event, Progress):
            job.update(progress=event)
        elif isinstance(event, Failure) and not self._cancelling and event.error != "cancelled":
            job.log.extend(event.trace.splitlines())
            self._fail(event.message, event.error)
        elif isinstance(event, (Result, Estimated)) and not self._cancelling:
            self._finish(state="done", result=event)
        elif isinstance(event, (Result, Estimated, Failure)):
            self._finish(state="cancelled")

    def _takeForeigner(self, error: VersionError) -> None:
        if self._process is None:  # the rest of what it said
            return
        self._endProcess()
        sentence = _(
            "The chosen Python runs another version of MAISI ({reason}): remove maisi from that Python, or choose "
            "another Python in the settings."
        )
        self._fail(sentence.format(reason=error))

    def _takeEnd(self) -> None:
        """The process ended by itself: with a job that is a crash, without one the next job starts another."""
        reason = describeExit(self._process.exitCode)
        self._endAndFail(_("The MAISI worker ended unexpectedly ({reason}).").format(reason=reason))

    def _takeTimeout(self) -> None:
        """The process did not say hello, or did not answer a cancel, in time."""
        self._endAndFail(_("The MAISI worker did not start within {seconds:g} s.").format(seconds=self._helloTimeout))

    # ---- endings

    def _endAndFail(self, sentence: str, kind: str = "internal") -> None:
        """End the process; its job, unless the last lines finished it, is cancelled if that was asked, else failed."""
        job = self._jobs[0] if self._jobs else None
        self._endProcess()
        if job is None or job.done or job.state == "queued":
            return
        if self._cancelling:
            self._finish(state="cancelled")
        else:
            self._fail(sentence, kind, showLog=kind == "internal")

    def _endProcess(self, patience: float = 0.0) -> None:
        """End the process with its children and take in its last lines."""
        if self._process is not None:
            process, self._process = self._process, None
            process.end(patience)
            self._takeLines(process)
            atexit.unregister(self.close)
        self.hello = self._deadline = None

    def _fail(self, sentence: str, kind: str = "internal", showLog: bool = False) -> None:
        """Fail the first job with ``sentence``, the advice for it, and the last log lines if asked."""
        if not self._jobs:
            return
        tail = list(self._jobs[0].log)[-LOG_LINES_SHOWN:] if showLog else []
        advice = advise("\n".join([sentence, *tail])) if kind in ("internal", "oom") else ""
        error = " ".join(filter(None, [sentence, advice]))
        self._finish(state="failed", error="\n".join([error, *tail]), errorKind=kind)

    def _finish(self, **values: object) -> None:
        self._cancelling, self._deadline = False, None
        if self._jobs:
            self._jobs.popleft().update(**values)
