"""A Hugging Face hub in miniature on this machine, which can be told to misbehave. It writes down what it was asked."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_ADDRESS = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Request:
    """What was asked: method, path, and headers by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Hub:
    """Files by (repository, path), and faults to be played.

    Attributes:
        hang_up_after: bytes after which the next transfers break, one entry for each.
        refuse: status of every answer, such as 403. claims: SHA-256 that is told instead of the true one.
        short_by: bytes that are missing at the end of what is sent, as if the file were that short.
    """

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    hang_up_after: list[int] = field(default_factory=list)
    refuse: int | None = None
    claims: str | None = None
    short_by: int = 0
    endpoint: str = ""

    @property
    def transfers(self) -> list[Request]:
        """Requests for content that reached the storage behind the hub."""
        return [request for request in self.requests if request.path.startswith("/storage/")]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free port of 127.0.0.1; large files are redirected to a storage under another name, localhost."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        hub = self.hub
        hub.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        stored = self.path.startswith("/storage/")
        address = _ADDRESS.fullmatch(self.path.removeprefix("/storage"))
        content = address and hub.files.get((address["repository"], address["path"]))
        if hub.refuse:
            self._empty(hub.refuse, {"X-Error-Code": "GatedRepo"} if hub.refuse in (401, 403) else {})
        elif content is None:
            self._empty(404, {"X-Error-Code": "EntryNotFound"})
        elif stored:
            self._send(content[: len(content) - hub.short_by])
        else:
            storage = f"http://localhost:{self.server.server_port}/storage{self.path}"
            checksum = hub.claims or hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{checksum}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": COMMIT}
            self._empty(302, {"Location": storage, "ETag": '"pointer"', **linked})

    def _send(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + self.hub.hang_up_after.pop(0) if self.hub.hang_up_after else len(content)
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()
