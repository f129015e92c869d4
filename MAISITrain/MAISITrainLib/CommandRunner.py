"""At most one command at a time, and what is to be done when it has ended."""

from __future__ import annotations

from collections.abc import Callable

from MAISILib.MaisiCommand import MaisiCommand


class CommandRunner:
    """What the sections of the panel have in common."""

    def __init__(self) -> None:
        self._command: MaisiCommand | None = None
        self._then: Callable[[MaisiCommand], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether ``poll`` must be called regularly."""
        return self._command is not None

    @property
    def line(self) -> str:
        """What the command printed last."""
        return self._command.line if self._command else ""

    def run(self, command: MaisiCommand, then: Callable[[MaisiCommand], None]) -> None:
        """Take a running command; ``then`` gets it when it has ended, well or not."""
        self._command, self._then = command, then

    def poll(self) -> bool:
        """Take in what happened, without blocking; True if anything changed."""
        if self._command is None or not (self._command.poll() or self._command.done):
            return False
        if self._command.done:
            command, self._command = self._command, None
            self._then(command)
        return True

    def cancel(self) -> None:
        """End the command; ``then`` is not called."""
        if self._command is not None:
            command, self._command = self._command, None
            command.cancel()
