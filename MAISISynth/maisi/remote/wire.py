"""The frames between the two sides of a remote worker, and which fields of a message name files that go along.

A frame is one byte that tells its kind, four bytes of length (big-endian), and the content. Files are cut into pieces
that are compressed one by one, so a transfer can stop at any of them.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from maisi.protocol import Message, Result, Synthesize

# A new field that names a file to be sent is one more word here.
FILES = {Synthesize: ("labels", "image", "labels_before"), Result: ("output",)}

LINE = b"L"  # a line of the worker's protocol, or whatever else stood on its pipe; the files it names went before
PIECE = b"P"  # the next piece of a file
EXIT = b"X"  # the worker ended with this code
PING = b"."  # still here

PIECE_BYTES = 1 << 18  # small, so that a slow line is never long busy with one of them
HEAD = struct.Struct(">cI")

M = TypeVar("M", bound=Message)


def files_of(message: Message) -> dict[str, str]:
    """Field and path of each file that goes with ``message``."""
    values = {name: getattr(message, name) for name in FILES.get(type(message), ())}
    return {name: path for name, path in values.items() if path is not None}


def with_paths(message: M, path_of: Callable[[str], str]) -> M:
    """``message`` in which the field of each file that goes with it holds ``path_of(field)``."""
    return replace(message, **{name: path_of(name) for name in files_of(message)})


@dataclass(frozen=True)
class Piece:
    """``data`` is what the file in ``field`` of the message about ``job`` holds from byte ``start`` on."""

    job: int
    field: str
    start: int
    data: bytes

    def encode(self) -> bytes:
        """The content of its frame: "JOB FIELD START", a zero byte, zlib."""
        return f"{self.job} {self.field} {self.start}\0".encode("ascii") + zlib.compress(self.data, 1)

    @classmethod
    def decode(cls, content: bytes) -> Piece:
        """Inverse of ``encode``."""
        name, _, data = content.partition(b"\0")
        job, field, start = name.decode("ascii").split()
        return cls(int(job), field, int(start), zlib.decompress(data))

    def write(self, path: Path) -> None:
        """Append it to the file at ``path``, or begin that file with it. Raises OSError."""
        with path.open("ab" if self.start else "wb") as file:
            file.write(self.data)


class Wire:
    """Both directions of the connection. Any thread may send; only one may receive."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._lock = threading.Lock()

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send one frame. Raises ConnectionError when the other side is gone."""
        try:
            with self._lock:
                self._outgoing.write(HEAD.pack(kind, len(content)) + content)
                self._outgoing.flush()
        except (OSError, ValueError) as error:
            raise ConnectionError(str(error)) from error

    def send_files(self, message: Message, stop: Callable[[], bool]) -> None:
        """Send the files that go with ``message``, which is to follow; returns early once ``stop()``.

        Raises:
            ConnectionError: the other side is gone. OSError: a file cannot be read.
        """
        for field, path in files_of(message).items():
            with open(path, "rb") as file:
                while data := file.read(PIECE_BYTES):
                    if stop():
                        return
                    self.send(PIECE, Piece(message.job, field, file.tell() - len(data), data).encode())

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """(kind, content) of each frame until the connection ends, be it in the middle of one."""
        while len(head := self._incoming.read(HEAD.size)) == HEAD.size:
            kind, length = HEAD.unpack(head)
            if len(content := self._incoming.read(length)) < length:
                return
            yield kind, content
