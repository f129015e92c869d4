"""What the application and the worker process say to each other: one JSON object a line.

Standard library only, because the Slicer side imports it. Large arrays never pass through the pipe: requests and
results name ``.npy`` files of ``[I, J, K]`` arrays, which both sides memory-map.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

PROTOCOL_VERSION = 3


class ProtocolError(Exception):
    """A line that is not a message of this protocol."""


class VersionError(ProtocolError):
    """A message of another version of this protocol: the two sides come from different installations."""


@dataclass(frozen=True)
class Message:
    """Base of all messages; ``kind`` is the word on the wire."""

    kind: ClassVar[str] = ""


# ---- requests: application -> worker


@dataclass(frozen=True)
class Synthesize(Message):
    """Make a CT from a label map; with ``image`` and ``labels_before``, only inside the region where labels changed.

    Attributes:
        job: number from 1 chosen by the application, never used twice with one worker; every event about this
            request carries it.
        labels: path of the label map, ``.npy`` uint8 ``[I, J, K]`` MAISI ids.
        affine: 16 numbers, row by row, voxel index -> RAS mm.
        output: path of the ``.npy`` HU volume to write on the grid of ``labels``; int16, or the dtype of ``image``.
        options: values of ``maisi.options.Options`` by name; those left out have their defaults.
        image, labels_before: paths of the image to edit (``.npy`` HU) and of its label map, or None.
    """

    kind: ClassVar[str] = "synthesize"
    job: int
    labels: str
    affine: list[float]
    output: str
    options: dict[str, Any] = field(default_factory=dict)
    image: str | None = None
    labels_before: str | None = None


@dataclass(frozen=True)
class Estimate(Message):
    """Tell what a job would need, without doing it; it waits for the jobs before it.

    Attributes:
        job: as in ``Synthesize``. shape, affine: of the label map's grid. options: as in ``Synthesize``.
        edit: whether it would be a change of an image.
    """

    kind: ClassVar[str] = "estimate"
    job: int
    shape: list[int]
    affine: list[float]
    options: dict[str, Any] = field(default_factory=dict)
    edit: bool = False


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
class Estimated(Message):
    """The answer to Estimate: GB on ``device``, and seconds without loading; ``runs`` before it that were measured."""

    kind: ClassVar[str] = "estimated"
    job: int
    memory_gb: float
    seconds: float
    device: str
    runs: int


@dataclass(frozen=True)
class Failure(Message):
    """The job ended without a result. ``error``: "oom", "weights", "input", "cancelled", "internal" or
    "connection" (the worker's machine cannot be reached, and this was the last message).

    Job 0 stands for a line that the worker could not read as a request, and for a connection.
    """

    kind: ClassVar[str] = "failure"
    job: int
    error: str
    message: str
    trace: str = ""


_MESSAGES = {c.kind: c for c in (Synthesize, Estimate, Cancel, Quit, Hello, Progress, Result, Estimated, Failure)}


def encode(message: Message) -> str:
    """One line of JSON in ASCII, without the line end.

    Raises:
        TypeError, ValueError: the message holds something that is not JSON, NaN and infinity among them.
    """
    return json.dumps({"v": PROTOCOL_VERSION, "kind": message.kind, **asdict(message)}, allow_nan=False)


def decode(line: str) -> Message:
    """The message in ``line``.

    Raises:
        VersionError: a message of another protocol version.
        ProtocolError: not JSON, not an object, an unknown kind, or missing, unknown or wrongly typed fields.
    """
    shown = repr(line[:80])
    try:
        data = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a JSON line: {shown}") from error
    if not isinstance(data, dict) or "v" not in data:
        raise ProtocolError(f"not a message: {shown}")
    if (version := data.pop("v")) != PROTOCOL_VERSION:
        raise VersionError(f"protocol version {version!r}, expected {PROTOCOL_VERSION}")
    kind = data.pop("kind", None)
    if not isinstance(kind, str) or kind not in _MESSAGES:
        raise ProtocolError(f"unknown message: {shown}")
    hints = get_type_hints(_MESSAGES[kind])
    names = {f.name for f in fields(_MESSAGES[kind])}
    for name, value in data.items():
        if name not in names or not _fits(value, hints[name]):
            raise ProtocolError(f"wrong field {name!r}: {shown}")
    try:
        return _MESSAGES[kind](**data)
    except TypeError as error:
        raise ProtocolError(f"incomplete message: {shown}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of the type that a field declares; true and false are no numbers."""
    if hint is Any:
        return True
    if isinstance(hint, UnionType):
        return any(_fits(value, h) for h in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(v, get_args(hint)[0]) for v in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(_fits(v, get_args(hint)[1]) for v in value.values())
    return type(value) in {float: (int, float), None: (NoneType,)}.get(hint, (hint,))
