"""Something that the chosen Python does once, in a child process."""

from __future__ import annotations

from collections.abc import Callable

from MAISILib.ChildProcess import ChildProcess
from MAISILib.Interpreter import Interpreter, InterpreterError
from MAISILib.Translate import _


class ChildTask:
    """A child process that runs from its making on; subclasses have a ``poll`` that takes in what it prints.

    Attributes:
        error: the sentence that tells why it failed, or "".
    """

    def __init__(self, interpreter: Interpreter, command: Callable[..., list[str]], *arguments: str) -> None:
        """``command`` makes the command line from ``arguments``: a method of ``interpreter``."""
        self.error = ""
        self._process: ChildProcess | None = None
        try:
            self._process = ChildProcess(command(*arguments), interpreter.environment())
        except (OSError, InterpreterError) as error:
            self.error = _("The chosen Python could not be started: {reason}").format(reason=error)

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._process is None

    def cancel(self) -> None:
        """End the process, if it still runs."""
        if self._process is not None:
            process = self._process
            process.end()
            self._takeLines()
            self._process = None

    def _takeLines(self) -> bool:
        """Take in what the process printed; True if it was anything."""
        raise NotImplementedError
