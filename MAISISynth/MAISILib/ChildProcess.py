"""A child process with a process group of its own, read line by line by threads, ended with all its children."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from typing import IO

from maisi.processes import kill_group, own_group

READER_TIMEOUT = 2.0  # seconds that the last lines may take once the whole tree has been killed


class ChildProcess:
    """Runs ``command``; what it prints waits in ``lines`` as ("stdout" | "stderr", line) in order of arrival.

    Both pipes are read all the time, so a talkative child never blocks.

    Raises:
        OSError: the program does not exist or cannot be executed.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            **own_group(),
        )
        self.command = command
        self.pid = self._popen.pid
        self.lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        pipes = (("stdout", self._popen.stdout), ("stderr", self._popen.stderr))
        self._readers = [threading.Thread(target=self._read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:  # text mode also splits at the bare \r of progress bars
                self.lines.put((name, line.rstrip("\n")))

    @property
    def exitCode(self) -> int | None:
        """Exit code, negative for a signal on POSIX; None while it runs."""
        return self._popen.poll()

    def send(self, line: str) -> None:
        """Write one line to its stdin. Raises OSError when it no longer reads."""
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def end(self, patience: float = 0.0) -> None:
        """Close its stdin, wait ``patience`` seconds, kill what is left of the whole tree.

        Afterwards ``lines`` holds everything that was printed.
        """
        with contextlib.suppress(OSError):  # it died with our last line unread
            self._popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(patience)
        kill_group(self.pid)
        self._popen.wait()
        for reader in self._readers:
            reader.join(READER_TIMEOUT)


def describeExit(code: int) -> str:
    """ "exit code 3" or "signal SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
