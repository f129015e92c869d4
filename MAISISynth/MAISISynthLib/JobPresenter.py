"""One button that starts a job and cancels it, decided without Qt: what the sections "Synthesize" and "Batch" share."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CalledProcessError
from typing import Any, Protocol

from maisi.errors import InputError
from MAISILib import Dependencies


class PanelJob(Protocol):
    """Work that goes on elsewhere."""

    done: bool

    def poll(self) -> bool:
        """Look what happened, without blocking; True if anything changed."""

    def cancel(self) -> None:
        """Stop it; it is done now, or after a later ``poll``."""


class JobPresenter:
    """At most one job at a time. Subclasses say how it starts, what its end means, and what is shown meanwhile."""

    def __init__(self, ensurePackages: Callable[[], None] = Dependencies.ensure) -> None:
        """``ensurePackages`` installs what the application's own Python lacks, after asking."""
        self._ensurePackages = ensurePackages
        self._job: Any = None

    @property
    def busy(self) -> bool:
        """Whether ``poll`` must be called regularly."""
        return self._job is not None

    def press(self) -> None:
        """The user pressed the button: start, or cancel what runs."""
        if self._job is None:
            self._start()
        else:
            self._job.cancel()
            self._takeEnd()
        self.update()

    def poll(self) -> None:
        """Call about ten times a second while ``busy``."""
        if self._job is not None and self._job.poll():
            self._takeEnd()
            self.update()

    def update(self) -> None:
        """Show the present state."""
        self._show(self._runningState() if self._job else self._idleState())

    def _begin(self, start: Callable[[], PanelJob], withOwnPython: bool) -> str:
        """Start the job; the sentence that tells why it could not be started, or ""."""
        try:
            if withOwnPython:
                self._ensurePackages()
            self._job = start()
        except (InputError, RuntimeError, CalledProcessError) as error:  # the latter two: packages
            return str(error)
        return ""

    def _takeEnd(self) -> None:
        if self._job.done:
            job, self._job = self._job, None
            self._finish(job)

    def _start(self) -> None:
        raise NotImplementedError

    def _finish(self, job: Any) -> None:
        raise NotImplementedError

    def _runningState(self) -> Any:
        raise NotImplementedError

    def _idleState(self) -> Any:
        raise NotImplementedError

    def _show(self, state: Any) -> None:
        raise NotImplementedError
