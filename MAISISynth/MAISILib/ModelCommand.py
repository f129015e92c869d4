"""A ``maisi models`` command in a child process: downloads take long, and need packages the application may lack."""

from __future__ import annotations

from MAISILib.ChildProcess import ChildProcess, describeExit
from MAISILib.ErrorAdvice import advise
from MAISILib.Interpreter import Interpreter, InterpreterError
from MAISILib.Translate import _

PROGRAM = ("-m", "maisi", "models")


class ModelCommand:
    """A command that runs from its making on; call ``poll`` until ``done``.

    Attributes:
        line: what it printed last, such as its progress. error: the sentence that tells why it failed, or "".
    """

    def __init__(self, interpreter: Interpreter, *arguments: str, program: tuple[str, ...] = PROGRAM) -> None:
        self.line = ""
        self.error = ""
        self._process: ChildProcess | None = None
        try:
            self._process = ChildProcess(interpreter.command(*program, *arguments), interpreter.environment())
        except (OSError, InterpreterError) as error:
            self.error = _("The chosen Python could not be started: {reason}").format(reason=error)

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._process is None

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

    def cancel(self) -> None:
        """End the process, if it still runs; a download goes on from there the next time."""
        if self._process is not None:
            process = self._process
            process.end()
            self._takeLines()
            self._process = None

    def _takeLines(self) -> bool:
        changed = False
        while not self._process.lines.empty():
            line = self._process.lines.get()[1].strip()
            self.line = line or self.line
            changed = True
        return changed
