"""The persistent worker process, ``python -m maisi.worker``: requests on stdin, events on stdout, log on stderr.

It keeps the networks loaded between jobs and runs one job at a time, in order. It ends when its stdin closes, so no
worker survives its application. The messages are those of ``maisi.protocol``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

import maisi
from maisi.errors import Cancelled, InputError, MaisiError
from maisi.options import Options
from maisi.protocol import (
    Cancel,
    Estimate,
    Estimated,
    Failure,
    Hello,
    Message,
    Progress,
    ProtocolError,
    Quit,
    Result,
    Synthesize,
    decode,
    encode,
)
from maisi.volume import ImageVolume, LabelVolume

if TYPE_CHECKING:
    from maisi.expectation import Expectation


class Channel:
    """The two pipes to the application, out of reach of everybody else in this process.

    File descriptors 0 and 1 are taken away from libraries and children: what they print goes to stderr, and they
    read nothing.
    """

    def __init__(self) -> None:
        self.lines = open(os.dup(0), encoding="utf-8", errors="replace")  # noqa: SIM115 - open as long as the process
        self._out = open(os.dup(1), "w", encoding="utf-8")  # noqa: SIM115
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        sys.stdout.reconfigure(line_buffering=True)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write one event. Raises TypeError or ValueError, before writing, if it is not JSON."""
        line = encode(message)
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()


class Inbox:
    """Listens to the application in a thread, so that Cancel and Quit are heard while a job runs."""

    def __init__(self, channel: Channel, end: Callable[[], None]) -> None:
        """``end`` is called when the application says Quit or closes the pipe; it must not return."""
        self._channel = channel
        self._end = end
        self._requests: queue.Queue[Synthesize | Estimate] = queue.Queue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> Synthesize | Estimate:
        """The next request; blocks until there is one."""
        return self._requests.get()

    def cancelled(self, job: int) -> bool:
        """Whether the application asked to stop ``job``."""
        return job in self._cancelled

    def _listen(self) -> None:
        try:
            for line in self._channel.lines:
                try:
                    message = decode(line)
                except ProtocolError as error:
                    self._channel.send(Failure(job=0, error="input", message=f"Not a request: {error}."))
                    continue
                if isinstance(message, (Synthesize, Estimate)):
                    self._requests.put(message)
                elif isinstance(message, Cancel):
                    self._cancelled.add(message.job)
                elif isinstance(message, Quit):
                    break
        finally:
            self._end()


class Pace:
    """Estimates the time left in a stage from the steps already done in it."""

    def __init__(self) -> None:
        self._stage = ""
        self._start = self._last = time.monotonic()

    def seconds_left(self, stage: str, step: int, total: int) -> float | None:
        """Call once per finished step; None while nothing is known."""
        if stage != self._stage:
            self._stage, self._start = stage, self._last
        self._last = time.monotonic()
        return (self._last - self._start) / step * (total - step) if step > 0 else None


def run(request: Synthesize | Estimate, channel: Channel, inbox: Inbox) -> None:
    """Do one job and send its Progress events and its Result, Estimated or Failure."""
    try:
        if inbox.cancelled(request.job):
            raise Cancelled("Cancelled before it began.")
        if isinstance(request, Estimate):
            channel.send(estimated(request))
        else:
            make(request, channel, inbox)
    except Exception as error:
        channel.send(failure(request.job, error))


def make(request: Synthesize, channel: Channel, inbox: Inbox) -> None:
    """Make an image, tell of it, and remember how long it took. Raises what the backend raises."""
    from maisi.expectation import PAST, Stopwatch

    pace, watch = Pace(), Stopwatch()

    def progress(stage: str, step: int, total: int) -> None:
        watch.take(stage, step, total)
        seconds_left = pace.seconds_left(stage, step, total)
        channel.send(Progress(request.job, stage, step, total, seconds_left, memory_gb()))

    shape = read(request.labels).shape
    expected = None
    with contextlib.suppress(MaisiError):  # the job itself tells what is wrong
        expected = expectation(shape, request.affine, request.options, request.image is not None)
    image, info = synthesize(request, progress, lambda: inbox.cancelled(request.job))
    write(request.output, image.array)
    if expected is not None:
        PAST.note(expected, watch.seconds)
    channel.send(Result(request.job, request.output, info))


def estimated(request: Estimate) -> Estimated:
    """The answer to ``request``. Raises what the backend raises."""
    expected = expectation(request.shape, request.affine, request.options, request.edit)
    return Estimated(request.job, expected.memory_gb, expected.seconds, expected.device, expected.runs)


def expectation(shape: Sequence[int], affine: Sequence[float], options: dict[str, Any], edit: bool) -> Expectation:
    """What a job needs. Raises InputError, OutOfMemoryError."""
    from maisi.expectation import expect

    return expect(shape, matrix(affine), Options.from_json(options), edit)


def synthesize(
    request: Synthesize, progress: Callable[[str, int, int], None], cancelled: Callable[[], bool]
) -> tuple[ImageVolume, dict]:
    """Call the backend: a whole CT, or an edit where the request has an image. Raises what the backend raises."""
    from maisi import editing, synthesis

    affine = matrix(request.affine)
    if (request.image is None) != (request.labels_before is None):
        raise InputError("An edit needs both the image and the label map that it was made from.")
    labels = LabelVolume(read(request.labels), affine)
    options = {
        **request.options,
        "progress": progress,
        "cancelled": cancelled,
    }
    if request.image is None:
        result = synthesis.synthesize(labels, **options)
    else:
        image = ImageVolume(read(request.image), affine)
        before = LabelVolume(read(request.labels_before), affine)
        result = editing.edit(image, before, labels, **options)
    return result.image, result.info


def matrix(affine: Sequence[float]) -> np.ndarray:
    """The 4x4 matrix with these numbers, row by row. Raises InputError: there are not 16."""
    if len(affine) != 16:
        raise InputError(f"The affine must have 16 numbers, got {len(affine)}.")
    return np.array(affine, dtype=np.float64).reshape(4, 4)


def read(path: str) -> np.ndarray:
    """The array in a ``.npy`` file, memory-mapped and read-only. Raises InputError; never unpickles."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"The array file {path} could not be read ({error}); send the request again.") from error


def write(path: str, array: np.ndarray) -> None:
    """Write a ``.npy`` file that is either complete or not there. Raises InputError when the folder refuses it."""
    partial = Path(f"{path}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        reason = error.strerror or error
        raise InputError(f"The result could not be written to {path} ({reason}); choose another folder.") from error


def failure(job: int, error: Exception) -> Failure:
    """What to tell the application about ``error``; call it in the ``except`` block."""
    trace = traceback.format_exc()
    if isinstance(error, MaisiError):
        return Failure(job, error.kind, str(error), "" if error.kind in ("input", "cancelled") else trace)
    if is_out_of_memory(error):
        return Failure(job, "oom", f"The computation ran out of memory ({first_line(error)}).", trace)
    return Failure(job, "internal", f"The synthesis failed ({type(error).__name__}: {first_line(error)}).", trace)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a library ran out of memory; on CPU and MPS torch says so in a bare RuntimeError."""
    import torch

    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text without its full stop."""
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def memory_gb() -> float:
    """Memory held on the GPUs in GB (2^30 bytes) when one is in use, else by this process."""
    import torch

    if torch.cuda.is_initialized() and (held := sum(map(torch.cuda.memory_reserved, range(torch.cuda.device_count())))):
        return held / 1024**3
    return psutil.Process().memory_info().rss / 1024**3


def end_with_children(own_group: bool) -> None:
    """End now, in the middle of a job too, and take the process group along when it is ours."""
    if hasattr(os, "killpg") and (own_group or os.getpgrp() == os.getpid()):
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main(arguments: list[str] | None = None) -> None:
    """Say hello, then serve requests until the application is gone."""
    parser = argparse.ArgumentParser(prog="python -m maisi.worker", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--own-group",
        action="store_true",
        help="end the whole process group on exit: the application started it for this worker, maybe with a launcher",
    )
    own_group = parser.parse_args(arguments).own_group
    channel = Channel()
    inbox = Inbox(channel, end=lambda: end_with_children(own_group))
    import torch  # only now: it takes seconds, in which the application may already be gone

    from maisi.devices import available_devices

    channel.send(Hello(version=maisi.__version__, torch=torch.__version__, devices=available_devices()))
    while True:
        run(inbox.next(), channel, inbox)


if __name__ == "__main__":
    main()
