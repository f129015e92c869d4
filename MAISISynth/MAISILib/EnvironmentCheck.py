"""Whether the chosen Python can run MAISI, and on which devices: start it as a worker is started, hear it greet."""

from __future__ import annotations

import time

from maisi.protocol import Failure, Hello, ProtocolError, VersionError, decode
from MAISILib.ChildProcess import describeExit
from MAISILib.ChildTask import ChildTask
from MAISILib.ErrorAdvice import advise
from MAISILib.Interpreter import Interpreter
from MAISILib.Translate import _
from MAISILib.Worker import WORKER_ARGUMENTS

LINES_SHOWN = 3


class EnvironmentCheck(ChildTask):
    """A check that runs from its making on; call ``poll`` until ``done``.

    Attributes:
        hello: versions and devices, when all is well; else ``error`` tells what to do.
    """

    def __init__(
        self, interpreter: Interpreter, arguments: tuple[str, ...] = WORKER_ARGUMENTS, timeout: float = 120.0
    ) -> None:
        self.hello: Hello | None = None
        self._lines: list[str] = []
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        super().__init__(interpreter, interpreter.workerCommand, *arguments)

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

    def _takeLines(self) -> bool:
        changed = False
        while not self.error and self.hello is None and not self._process.lines.empty():
            self._takeLine(self._process.lines.get()[1])
            changed = True
        return changed

    def _takeLine(self, line: str) -> None:
        try:
            message = decode(line)
        except VersionError as error:
            text = _("The chosen Python has another version of MAISI ({reason}): remove it there.")
            self.error = text.format(reason=error)
        except ProtocolError:
            self._lines.append(line)
        else:
            if isinstance(message, Hello):
                self.hello = message
            elif isinstance(message, Failure):  # no connection to the remote machine
                self.error = message.message

    def _fail(self, sentence: str) -> None:
        tail = self._lines[-LINES_SHOWN:]
        self.error = " ".join(filter(None, [sentence, advise("\n".join(self._lines)), *tail]))
