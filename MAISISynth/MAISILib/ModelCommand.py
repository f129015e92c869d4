"""A ``maisi models`` command on the machine that computes: a download takes long, and needs packages."""

from __future__ import annotations

from MAISILib.ChildProcess import describeExit
from MAISILib.ChildTask import ChildTask
from MAISILib.ErrorAdvice import advise
from MAISILib.Interpreter import Interpreter

PROGRAM = ("-m", "maisi", "models")


class ModelCommand(ChildTask):
    """A command that runs from its making on; call ``poll`` until ``done``. A download that is cancelled goes on from
    there the next time.

    Attributes:
        line: what it printed last, such as its progress.
    """

    def __init__(self, interpreter: Interpreter, *arguments: str, program: tuple[str, ...] = PROGRAM) -> None:
        self.line = ""
        super().__init__(interpreter, interpreter.workerCommand, *program, *arguments)

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
            reason = self.line or describeExit(code)
            self.error = " ".join(filter(None, [reason, advise(reason)]))
        return True

    def _takeLines(self) -> bool:
        changed = False
        while not self._process.lines.empty():
            line = self._process.lines.get()[1].strip()
            self.line = line or self.line
            changed = True
        return changed
