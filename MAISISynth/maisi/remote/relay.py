"""This machine's end of the connection: to the application it is the worker, on its stdin and stdout."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from maisi.processes import WINDOWS
from maisi.protocol import Cancel, Estimate, Estimated, Failure, ProtocolError, Quit, Result, Synthesize, decode, encode
from maisi.remote import bootstrap, ssh
from maisi.remote.bundle import archive, bundled_files, digest
from maisi.remote.wire import EXIT, LINE, PIECE, PING, Piece, Wire, with_paths

PING_SECONDS = 20.0
SILENCE_SECONDS = 300.0  # after which the other side gives up; a laptop may sleep for a moment
LAST_WORDS = 2.0  # seconds that the last lines of ssh may take
KEPT_LOG = 4096  # bytes


class Relay:
    """Connects to ``host``, passes lines and files on in both directions, and ends like the worker there ends.

    A job that is on its way (its files are being sent or fetched) is cancelled at once; the worker answers otherwise.
    """

    def __init__(self, host: str, python: str, arguments: list[str], silence: float = SILENCE_SECONDS) -> None:
        """``python`` runs with ``arguments`` on ``host``, see ``ssh.command``."""
        self._host, self._python, self._arguments, self._silence = host, python, arguments, silence
        self._requests: queue.SimpleQueue[Synthesize] = queue.SimpleQueue()
        self._open: dict[int, Synthesize | Estimate] = {}  # jobs without an answer
        self._travelling: set[int] = set()  # those of them whose files are on the way
        self._connected = False
        self._log = b""  # the end of it
        self._lock = threading.RLock()  # of the jobs, and of stdout

    def run(self) -> None:
        """Serve until the application or the other side ends; does not return."""
        try:
            self._ssh = subprocess.Popen(
                ssh.command(self._host, self._python),
                env=ssh.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=subprocess.CREATE_NO_WINDOW if WINDOWS else 0,
            )
        except OSError as error:
            self._give_up(
                f"The program ssh could not be started ({error.strerror or error}): install the OpenSSH client."
            )
        self._wire = Wire(self._ssh.stdout, self._ssh.stdin)
        self._stderr = threading.Thread(target=self._pass_log_on, daemon=True)
        self._stderr.start()
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._connect():
            said = self._said()
            self._give_up(ssh.explain(self._host, self._python, self._ssh.returncode, said))
        self._connected = True
        for task in (self._send_requests, self._ping):
            threading.Thread(target=task, daemon=True).start()
        self._receive()

    # ---- the beginning

    def _connect(self) -> bool:
        """Start the server there; False when the connection ends before that."""
        files = bundled_files()
        program = f"exec({Path(bootstrap.__file__).read_text(encoding='utf-8')!a})\n"
        wanted = {"digest": digest(files), "arguments": self._arguments, "silence": self._silence}
        try:
            self._write(program.encode("ascii") + json.dumps(wanted).encode("ascii") + b"\n")
            while line := self._ssh.stdout.readline():
                mark, _, answer = line.decode("utf-8", "replace").strip().partition(" ")
                if mark != bootstrap.MARK:  # a login script printed it
                    continue
                word, _, sentence = answer.partition(" ")
                if word == "ready":
                    return True
                if word == "refuse":
                    self._give_up(f"{self._host}: {sentence}.")
                content = archive(files)
                size = f"{len(content) / 1e6:.0f} MB"
                print(f"Sending MAISI's files to {self._host} ({size}, once)", file=sys.stderr, flush=True)
                self._write(f"{len(content)}\n".encode("ascii") + content)
        except OSError:  # ssh ended
            pass
        return False

    def _write(self, content: bytes) -> None:
        self._ssh.stdin.write(content)
        self._ssh.stdin.flush()

    # ---- from the application

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            line = line.rstrip(b"\r\n")
            try:
                message = decode(line.decode("utf-8", "replace"))
            except ProtocolError:  # the worker answers to that
                message = None
            if isinstance(message, Synthesize):
                with self._lock:
                    self._open[message.job] = message
                    self._travelling.add(message.job)
                self._requests.put(message)
                continue
            if isinstance(message, Quit):
                break
            if isinstance(message, Estimate):
                self._open[message.job] = message
            if isinstance(message, Cancel) and message.job in self._travelling:
                self._answer(Failure(message.job, "cancelled", "Cancelled."))
            if self._connected:  # nobody is asked anything before the worker's hello
                with contextlib.suppress(ConnectionError):  # _receive tells
                    self._wire.send(LINE, line)
        self._end(0)

    def _send_requests(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                self._send_request(self._requests.get())

    def _send_request(self, request: Synthesize) -> None:
        try:
            self._wire.send_files(request, stop=lambda: request.job not in self._open)
        except ConnectionError:
            raise
        except OSError as error:  # the worker will miss it, and say so when it is this job's turn
            print(f"A file of the request could not be read: {error}", file=sys.stderr, flush=True)
        with self._lock:
            if request.job not in self._open:
                return
            self._travelling.discard(request.job)
        self._wire.send(LINE, encode(with_paths(replace(request, output=""), lambda field: "")).encode("ascii"))

    def _ping(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                time.sleep(min(PING_SECONDS, self._silence / 4))
                self._wire.send(PING)

    # ---- from the other side

    def _receive(self) -> None:
        for kind, content in self._wire.frames():
            if kind == PIECE:
                self._take_piece(Piece.decode(content))
            elif kind == LINE:
                self._take_line(content)
            elif kind == EXIT:
                self._end_like(int(content))
        reason = next((line.strip(" .") for line in reversed(self._said()) if line.strip()), "no reason was given")
        self._give_up(
            f"The connection to {self._host} broke off ({reason}): nothing of yours was changed; when the computer "
            "can be reached again, start the synthesis again."
        )

    def _take_piece(self, piece: Piece) -> None:
        with self._lock:  # so that a cancel does not come in between
            if (request := self._open.get(piece.job)) is None:
                return
            self._travelling.add(piece.job)
            try:
                piece.write(_partial(request))
            except OSError as error:
                self._refuse(request, error)

    def _take_line(self, line: bytes) -> None:
        try:
            message = decode(line.decode("utf-8", "replace"))
        except ProtocolError:
            self._print(line)
            return
        if isinstance(message, Result):
            self._take_result(message)
        elif isinstance(message, Estimated):
            self._answer(message)
        elif isinstance(message, Failure) and message.job:
            here = message.error in ("input", "cancelled")
            self._answer(message if here else replace(message, message=f"On {self._host}: {message.message}"))
        else:
            self._print(encode(message).encode("ascii"))

    def _take_result(self, result: Result) -> None:
        if (request := self._open.get(result.job)) is None:
            return
        try:
            os.replace(_partial(request), request.output)
        except OSError as error:
            self._refuse(request, error)
        else:
            self._answer(with_paths(result, lambda field: getattr(request, field)))

    def _refuse(self, request: Synthesize, error: OSError) -> None:
        reason = error.strerror or error
        sentence = f"The result could not be written to {request.output} ({reason}); choose another folder."
        self._answer(Failure(request.job, "input", sentence))

    # ---- to the application

    def _answer(self, message: Result | Estimated | Failure) -> None:
        """The last word about a job; what comes later about it is dropped."""
        with self._lock:
            request = self._open.pop(message.job, None)
            self._travelling.discard(message.job)
            if request is None:
                return
            if isinstance(request, Synthesize):
                with contextlib.suppress(OSError):
                    _partial(request).unlink()
            self._print(encode(message).encode("ascii"))

    def _print(self, line: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):  # the application is gone; _listen ends
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()

    def _pass_log_on(self) -> None:
        while piece := self._ssh.stderr.read1(1 << 16):  # not by lines: a progress bar does not end its line
            self._log = (self._log + piece)[-KEPT_LOG:]
            with contextlib.suppress(OSError):
                sys.stderr.buffer.write(piece)
                sys.stderr.buffer.flush()

    def _said(self) -> list[str]:
        """The last lines of ssh and of the worker's log. Ends ssh, which some process there may keep from ending."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(LAST_WORDS)
        self._ssh.kill()
        self._ssh.wait()
        self._stderr.join(LAST_WORDS)
        return self._log.decode("utf-8", "replace").splitlines()

    # ---- endings

    def _give_up(self, sentence: str) -> None:
        failure = Failure(job=0, error="connection", message=sentence)
        self._print(encode(failure).encode("ascii"))
        self._end(1)

    def _end_like(self, code: int) -> None:
        """End with the worker's exit code, or by its signal, so that the application sees a local worker's end."""
        self._said()  # so that the log is whole before the end
        if code < 0 and not WINDOWS:
            os.kill(os.getpid(), signal.Signals(-code))
        self._end(code % 256)

    def _end(self, code: int) -> None:
        """End now; the other side ends when the pipe closes."""
        with contextlib.suppress(AttributeError, OSError):
            self._ssh.kill()
        os._exit(code)


def _partial(request: Synthesize) -> Path:
    """Where the result of ``request`` arrives until it is whole."""
    return Path(f"{request.output}.partial")
