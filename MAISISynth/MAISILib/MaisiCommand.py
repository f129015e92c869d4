"""A ``maisi`` command in a child process: for what takes long, or needs packages that the application may lack."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from MAISILib.ChildProcess import describeExit
from MAISILib.ChildTask import ChildTask
from MAISILib.ErrorAdvice import advise
from MAISILib.Interpreter import Interpreter
from MAISILib.Job import JobError
from MAISILib.Translate import _
from MAISILib.Waiting import waitFor

_PREFIX = "maisi: "  # of the sentence with which the command line ends when something is wrong


class MaisiCommand(ChildTask):
    """A command that runs from its making on; call ``poll`` until ``done``, or ``wait`` once.

    Attributes:
        line: what it printed last, such as its progress. output: the lines of its standard output.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        command: Callable[..., list[str]],
        *arguments: str,
        temporary: tempfile.TemporaryDirectory | None = None,
    ) -> None:
        """
        Args:
            command: makes the command line from ``arguments``: a method of ``interpreter``.
            temporary: folder of files that the command reads, removed when it has ended.
        """
        self.line = ""
        self.output: list[str] = []
        self._sentence = ""
        self._temporary = temporary
        super().__init__(interpreter, command, *arguments)
        if self.done:  # it could not be started
            self.cancel()

    def poll(self) -> bool:
        """Take in what it printed, without blocking; True if anything changed."""
        if self._process is None:
            return False
        code = self._process.exitCode  # asked first, so that the last lines are there when it has ended
        changed = self._takeLines()
        if code is None:
            return changed
        self.cancel()
        if code:
            reason = self._sentence or self.line or describeExit(code)
            self.error = " ".join(filter(None, [reason, advise(reason)]))
        return True

    def cancel(self) -> None:
        """End the process, if it still runs."""
        super().cancel()
        if self._temporary is not None:
            self._temporary.cleanup()

    def wait(self, timeout: float | None = None) -> list[str]:
        """Block until it is over; returns its output. Ctrl+C ends it.

        Raises:
            JobError: it failed. TimeoutError: it is still running after ``timeout`` seconds (and goes on).
        """
        waitFor(self, timeout, _("The command is not over after {seconds} s.").format(seconds=timeout))
        if self.error:
            raise JobError(self.error, "input")
        return self.output

    def _takeLines(self) -> bool:
        changed = False
        while not self._process.lines.empty():
            pipe, line = self._process.lines.get()
            if pipe == "stdout":
                self.output.append(line)
            if line.startswith(_PREFIX):
                self._sentence = line.removeprefix(_PREFIX)
            self.line = line.strip() or self.line
            changed = True
        return changed
