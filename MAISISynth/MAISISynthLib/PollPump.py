"""Drives what has to be polled, and rests while nothing has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import qt

MILLISECONDS = 100


class Polled(Protocol):
    """Something with work going on elsewhere."""

    busy: bool

    def poll(self) -> None:
        """Look what happened, without blocking."""


class PollPump:
    """Polls while anything is busy. ``wake`` it after whatever may have made something busy."""

    def __init__(self) -> None:
        self._polled: Sequence[Polled] = ()
        self._timer = qt.QTimer()
        self._timer.interval = MILLISECONDS
        self._timer.connect("timeout()", self._tick)

    def drive(self, *polled: Polled) -> None:
        """From now on poll these."""
        self._polled = polled

    def wake(self) -> None:
        """Something may be busy now."""
        if not self._timer.active:
            self._timer.start()

    def stop(self) -> None:
        """Poll no more."""
        self._timer.stop()

    def _tick(self) -> None:
        for polled in self._polled:
            polled.poll()
        if not any(polled.busy for polled in self._polled):
            self._timer.stop()
