"""The first program on the other machine: unpacks MAISI's files there, unless they are, and starts the server.

It is sent as source text to ``python3 -c`` and so imports nothing of MAISI before they are in place; it says in one
sentence when that machine cannot run MAISI, also to a Python that is too old.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

MARK = "MAISI-REMOTE"  # what login scripts print may stand before it
LEAST_PYTHON = (3, 10)
KEPT_DAYS = 30  # that the files of other versions stay


class Refusal(Exception):
    """Why this machine cannot run MAISI."""


def answer(word, sentence=""):
    sys.stdout.buffer.write(f"\n{MARK} {word} {sentence}\n".encode())
    sys.stdout.buffer.flush()


def unpack(archive, folder):
    """Put the files into ``folder`` at one stroke, so that a broken connection leaves no half of them."""
    part = Path(f"{folder}.{os.getpid()}")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
            zipped.extractall(part)
        with contextlib.suppress(OSError):  # another connection was faster
            os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def place(wanted):
    """The folder of this version's files, received if it is not there yet."""
    store = Path.home() / ".maisi" / "remote"
    folder = store / wanted["digest"]
    try:
        if not folder.is_dir():
            store.mkdir(parents=True, exist_ok=True)
            answer("send")
            size = int(sys.stdin.buffer.readline())
            archive = sys.stdin.buffer.read(size)
            if len(archive) < size:
                sys.exit(0)
            unpack(archive, folder)
        os.utime(folder)
        for other in store.iterdir():
            if other.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
                shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise Refusal(f"MAISI's files could not be written to {store} there ({reason}): make room for them") from error
    return folder


def check_packages(folder):
    """Refuse unless the Python packages that MAISI needs are installed."""
    from importlib.metadata import PackageNotFoundError, version

    lacking = []
    text = (folder / "Resources" / "MAISISynth-requirements.txt").read_text(encoding="utf-8")
    for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
        try:
            version(line.split(">")[0])
        except PackageNotFoundError:
            lacking.append(f'"{line}"')
    if lacking:
        install = f"{sys.executable} -m pip install {' '.join(lacking)}"
        raise Refusal(f"Python packages are missing there: run there {install}, or name another Python in the settings")


def start_server(folder, wanted):
    """The server of ``maisi.remote``, whose worker has been started."""
    sys.path.insert(0, str(folder))
    from maisi.remote.server import Server

    try:
        return Server(sys.stdin.buffer, sys.stdout.buffer, wanted["arguments"], wanted["silence"])
    except OSError as error:
        reason = error.strerror or error
        raise Refusal(f"the worker could not be started there ({reason}): make room for temporary files") from error


def main():
    wanted = json.loads(sys.stdin.buffer.readline().decode("utf-8"))
    try:
        if sys.version_info < LEAST_PYTHON:
            found, least = (".".join(map(str, version[:2])) for version in (sys.version_info, LEAST_PYTHON))
            raise Refusal(
                f"{sys.executable} there is Python {found} and MAISI needs {least} or newer: name another Python in "
                "the settings"
            )
        folder = place(wanted)
        check_packages(folder)
        server = start_server(folder, wanted)
    except Refusal as refusal:
        answer("refuse", refusal)
        return
    answer("ready")
    server.serve()


if __name__ == "__main__":
    main()
