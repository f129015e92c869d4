"""What makes a training stop: the file ``stop`` in its folder, a signal (SIGTERM, Ctrl+C), the end of torchrun."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from maisi.train.run_folder import RunFolder

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While its block runs, a signal is remembered instead of ending the process."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._signalled = run, False
        self._parent = os.getppid() if "RANK" in os.environ else None  # torchrun

    def __enter__(self) -> Interruption:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            self._before = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_asked(self) -> bool:
        """Whether this process was asked to stop, or left alone by a torchrun that was killed."""
        is_left = self._parent is not None and os.getppid() != self._parent
        return self._signalled or is_left or self._run.stop_file.exists()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
