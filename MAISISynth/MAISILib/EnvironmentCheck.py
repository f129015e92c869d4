"""Whether the chosen Python can run MAISI, and on which devices: start it as a worker is started, hear it greet."""

from __future__ import annotations

import time

from maisi.protocol import Hello, ProtocolError, VersionError, decode
from MAISILib.ChildProcess import ChildProcess, describeExit
from MAISILib.ErrorAdvice import advise
from MAISILib.Interpreter import Interpreter, InterpreterError
from MAISILib.Translate import _
from MAISILib.Worker import WORKER_ARGUMENTS

LINES_SHOWN = 3


class EnvironmentCheck:
    """A check that runs from its making on; call ``poll`` until ``done``.

    Attributes:
        hello: versions and devices, when all is well. error: else a sentence that tells what to do.
    """

    def __init__(
        self, interpreter: Interpreter, arguments: tuple[str, ...] = WORKER_ARGUMENTS, timeout: float = 120.0
    ) -> None:
        self.hello: Hello | None = None
        self.error = ""
        self._lines: list[str] = []
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._process: ChildProcess | None = None
        try:
            self._process = ChildProcess(interpreter.command(*arguments), interpreter.environment())
        except (OSError, InterpreterError) as error:
            self.error = _("The chosen Python could not be started: {reason}").format(reason=error)

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._process is None

    def poll(self) -> bool:
        """Take in what happened, without blocking; True when the check ended just now."""
        if self._process is None:
            return False
        code = self._process.exitCode  # asked first, so that the last lines are there when it has ended
        self._takeLines()
        if self.hello is None and not self.error:
            if code is not None:
                self._fail(_("The chosen Python ended with {reason}.").format(reason=describeExit(code)))
            elif time.monotonic() > self._deadline:
                self._fail(_("The chosen Python did not answer within {seconds:g} s.").format(seconds=self._timeout))
        if self.hello is not None or self.error:
            self.cancel()
            return True
        return False

    def cancel(self) -> None:
        """End the process, if it still runs."""
        if self._process is not None:
            process, self._process = self._process, None
            process.end()

    def _takeLines(self) -> None:
        while not self.error and not self._process.lines.empty():
            line = self._process.lines.get()[1]
            try:
                message = decode(line)
            except VersionError as error:
                self.error = _("The chosen Python has another version of MAISI ({reason}): remove it there.").format(
                    reason=error
                )
            except ProtocolError:
                self._lines.append(line)
            else:
                self.hello = message if isinstance(message, Hello) else self.hello

    def _fail(self, sentence: str) -> None:
        tail = self._lines[-LINES_SHOWN:]
        self.error = " ".join(filter(None, [sentence, advise("\n".join(self._lines)), *tail]))
