"""The two ways to ask a training to stop: the file ``stop`` in its folder, and a signal (SIGTERM, Ctrl+C)."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from maisi.train.run_folder import RunFolder

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While its block runs, a signal is remembered instead of ending the process."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._signalled = run, False

    def __enter__(self) -> Interruption:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            self._before = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_asked(self) -> bool:
        """Whether this process was asked to stop."""
        return self._signalled or self._run.stop_file.exists()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
