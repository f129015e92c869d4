"""The other machine's end of the connection: runs the worker, and keeps its files in a temporary folder meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from maisi.processes import kill_group, own_group
from maisi.protocol import Cancel, Failure, Message, ProtocolError, Result, Synthesize, decode, encode
from maisi.remote.wire import EXIT, FILES, LINE, PIECE, Piece, Wire, with_paths

LAST_WORDS = 2.0  # seconds that the worker's last lines may take once its whole group has been killed


class Server:
    """Starts the worker at once; ``serve`` ends the process together with the connection or with the worker.

    However it ends, the worker's whole process group is killed and the temporary folder vanishes.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, arguments: list[str], silence: float) -> None:
        """Run this Python with ``arguments``; the connection counts as lost after ``silence`` seconds without a frame.

        Without that limit a connection that was cut would hold the GPU for hours.
        """
        self._wire = Wire(incoming, outgoing)
        self._silence = silence
        self._heard = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="maisi-"))
        self._given: set[int] = set()  # jobs that the worker has
        self._dropped: set[int] = set()  # jobs that are not wanted any more, or whose files could not be kept
        self._ending = threading.Lock()
        for number in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, number):
                # in a thread, since the signal may come in the middle of the end
                signal.signal(getattr(signal, number), lambda *_: threading.Thread(target=self._end).start())
        self._worker = subprocess.Popen(
            [sys.executable, *arguments],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **own_group(),
        )
        self._events = threading.Thread(target=self._send_events, daemon=True)

    def serve(self) -> None:
        """Take in frames until the connection ends; does not return."""
        self._events.start()
        for watch in (self._watch_worker, self._watch_silence):
            threading.Thread(target=watch, daemon=True).start()
        try:
            for kind, content in self._wire.frames():
                self._heard = time.monotonic()
                if kind == PIECE:
                    self._take_piece(Piece.decode(content))
                elif kind == LINE:
                    self._take_line(content)
        finally:
            self._end()

    # ---- from the application

    def _take_piece(self, piece: Piece) -> None:
        if piece.job in self._dropped or piece.field not in FILES[Synthesize]:
            return
        try:
            piece.write(self._folder_of(piece.job) / f"{piece.field}.npy")
        except OSError as error:
            self._refuse(piece.job, error)

    def _take_line(self, line: bytes) -> None:
        with contextlib.suppress(ProtocolError):  # the worker answers to that
            message = decode(line.decode("utf-8", "replace"))
            if isinstance(message, Synthesize):
                self._take_request(message)
                return
            if isinstance(message, Cancel):
                self._dropped.add(message.job)
                if message.job not in self._given:
                    self._drop(message.job)
        self._give(line)

    def _take_request(self, request: Synthesize) -> None:
        if request.job in self._dropped:
            self._send(Failure(request.job, "cancelled", "Cancelled before it began."))
            return
        try:
            folder = self._folder_of(request.job)
        except OSError as error:
            self._refuse(request.job, error)
            return
        request = with_paths(request, lambda field: str(folder / f"{field}.npy"))
        self._given.add(request.job)
        self._give(encode(replace(request, output=str(folder / "output.npy"))).encode("ascii"))

    def _give(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the worker just ended; _watch_worker tells
            self._worker.stdin.write(line + b"\n")
            self._worker.stdin.flush()

    def _folder_of(self, job: int) -> Path:
        folder = self._folder / str(job)
        folder.mkdir(exist_ok=True)
        return folder

    def _refuse(self, job: int, error: OSError) -> None:
        """The disk is full, or the like."""
        self._drop(job)
        sentence = (
            f"The temporary files of the job could not be written to {self._folder} ({error.strerror or error}); "
            "make room there, or set TMPDIR there to another folder."
        )
        self._send(Failure(job, "input", sentence))

    def _drop(self, job: int) -> None:
        self._dropped.add(job)
        shutil.rmtree(self._folder / str(job), ignore_errors=True)

    # ---- from the worker

    def _send_events(self) -> None:
        with contextlib.suppress(ConnectionError):  # serve() ends, too
            for line in self._worker.stdout:
                self._send_event(line.rstrip(b"\r\n"))

    def _send_event(self, line: bytes) -> None:
        try:
            message = decode(line.decode("utf-8", "replace"))
        except ProtocolError:  # the application decides what that is
            self._wire.send(LINE, line)
            return
        if isinstance(message, Result):
            message = self._send_result(message)
        self._send(message)
        if isinstance(message, (Result, Failure)):
            self._drop(message.job)

    def _send_result(self, result: Result) -> Message:
        """Send the files of ``result``; gives the message that is to follow."""
        try:
            self._wire.send_files(result, stop=lambda: result.job in self._dropped)
        except ConnectionError:
            raise
        except OSError as error:
            return Failure(result.job, "internal", f"The result could not be read ({error.strerror or error}).")
        return Failure(result.job, "cancelled", "Cancelled.") if result.job in self._dropped else result

    def _send(self, message: Message) -> None:
        """Send a message; a path of the temporary folder in a sentence is told with this machine's name."""
        if isinstance(message, Failure):
            folder = str(self._folder)
            message = replace(message, message=message.message.replace(folder, f"{socket.gethostname()}:{folder}"))
        self._wire.send(LINE, encode(message).encode("ascii"))

    # ---- endings

    def _watch_worker(self) -> None:
        """When the worker ends by itself, the other side is told how, after its last lines."""
        code = self._worker.wait()
        kill_group(self._worker.pid)  # its children may hold the pipe open
        self._events.join(LAST_WORDS)
        with contextlib.suppress(ConnectionError):
            self._wire.send(EXIT, str(code).encode("ascii"))
        self._end()

    def _watch_silence(self) -> None:
        while time.monotonic() - self._heard < self._silence:
            time.sleep(self._silence / 10)
        self._end()

    def _end(self) -> None:
        if self._ending.acquire(blocking=False):
            kill_group(self._worker.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.wait(LAST_WORDS)
            shutil.rmtree(self._folder, ignore_errors=True)
            os._exit(0)
        threading.Event().wait()  # another thread is ending this process


def _environment() -> dict[str, str]:
    """That of this process, in which the same ``maisi`` is imported and output is not held back."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
