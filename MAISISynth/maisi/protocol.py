"""What the application and the worker process say to each other: one JSON object a line.

Standard library only, because the Slicer side imports it. Large arrays never pass through the pipe: requests and
results name ``.npy`` files of ``[I, J, K]`` arrays, which both sides memory-map.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

PROTOCOL_VERSION = 1


class ProtocolError(Exception):
    """A line that is not a message of this protocol, or is of another version."""


@dataclass(frozen=True)
class Message:
    """Base of all messages; ``kind`` is the word on the wire."""

    kind: ClassVar[str] = ""


# ---- requests: application -> worker


@dataclass(frozen=True)
class Synthesize(Message):
    """Make a CT from a label map; with ``image`` and ``labels_before``, only inside the region where labels changed.

    Attributes:
        job: number chosen by the application; every event about this request carries it.
        labels: path of the label map, ``.npy`` uint8 ``[I, J, K]`` MAISI ids.
        affine: 16 numbers, row by row, voxel index -> RAS mm.
        output: path of the ``.npy`` int16 HU volume to write, on the grid of ``labels``.
        seed: noise seed. steps: network evaluations (None: the model's default).
        model: name in ``maisi models``. device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        image, labels_before: paths of the image to edit (``.npy`` HU) and of its label map, or None.
    """

    kind: ClassVar[str] = "synthesize"
    job: int
    labels: str
    affine: list[float]
    output: str
    seed: int = 0
    steps: int | None = None
    model: str = "embedded"
    device: str = "auto"
    image: str | None = None
    labels_before: str | None = None


@dataclass(frozen=True)
class Cancel(Message):
    """Stop job ``job`` at its next step."""

    kind: ClassVar[str] = "cancel"
    job: int


@dataclass(frozen=True)
class Quit(Message):
    """End the worker (closing its stdin does the same)."""

    kind: ClassVar[str] = "quit"


# ---- events: worker -> application


@dataclass(frozen=True)
class Hello(Message):
    """First line of a worker: versions, and the devices it sees (name, label, total and free memory in GB)."""

    kind: ClassVar[str] = "hello"
    version: str
    torch: str
    devices: list[dict[str, Any]]


@dataclass(frozen=True)
class Progress(Message):
    """Step ``step`` of ``total`` of ``stage`` ("load", "sample", "decode", "check") is done."""

    kind: ClassVar[str] = "progress"
    job: int
    stage: str
    step: int
    total: int
    seconds_left: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class Result(Message):
    """The job is done; ``info`` holds model, model_sha256, device, seconds, notices, checks."""

    kind: ClassVar[str] = "result"
    job: int
    output: str
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure(Message):
    """The job ended without a result. ``error``: "oom", "weights", "input", "cancelled" or "internal"."""

    kind: ClassVar[str] = "failure"
    job: int
    error: str
    message: str
    trace: str = ""


_MESSAGES = {c.kind: c for c in (Synthesize, Cancel, Quit, Hello, Progress, Result, Failure)}


def encode(message: Message) -> str:
    """One line of JSON, without the line end."""
    return json.dumps({"v": PROTOCOL_VERSION, "kind": message.kind, **asdict(message)}, allow_nan=False)


def decode(line: str) -> Message:
    """The message in ``line``.

    Raises:
        ProtocolError: not JSON, not an object, another protocol version, an unknown kind, or wrong fields.
    """
    try:
        data = json.loads(line)
    except ValueError as error:
        raise ProtocolError(f"not a JSON line: {line[:80]!r}") from error
    if not isinstance(data, dict) or data.pop("v", None) != PROTOCOL_VERSION:
        raise ProtocolError(f"not a message of protocol version {PROTOCOL_VERSION}: {line[:80]!r}")
    message = _MESSAGES.get(data.pop("kind", None))
    if message is None or not set(data) <= {f.name for f in fields(message)}:
        raise ProtocolError(f"unknown message: {line[:80]!r}")
    try:
        return message(**data)
    except TypeError as error:
        raise ProtocolError(f"incomplete message: {line[:80]!r}") from error
