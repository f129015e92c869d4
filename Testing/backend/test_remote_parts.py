"""The parts of the remote worker that need no connection."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maisi.protocol import Cancel, Progress, Result, Synthesize, decode, encode
from maisi.remote import bootstrap, ssh
from maisi.remote.bundle import ROOT, archive, bundled_files, digest
from maisi.remote.wire import FILES, LINE, PIECE, PIECE_BYTES, Piece, Wire, files_of, with_paths

names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1)
pieces = st.builds(Piece, st.integers(0), names, st.integers(0), st.binary())
frames = st.lists(st.tuples(st.sampled_from([LINE, PIECE]), st.binary(max_size=99)), max_size=5)


def request(**values) -> Synthesize:
    return Synthesize(**{"job": 4, "labels": "l.npy", "affine": [1.0] * 16, "output": "ct.npy"} | values)


@given(pieces)
def test_pieces_survive_the_way(piece):
    assert Piece.decode(piece.encode()) == piece


@given(frames, st.data())
def test_frames_survive_the_way_and_a_broken_one_ends_it(sent, data):
    pipe = io.BytesIO()
    wire = Wire(pipe, pipe)
    for frame in sent:
        wire.send(*frame)
    whole = pipe.getvalue()
    cut = data.draw(st.integers(0, len(whole)))
    received = list(Wire(io.BytesIO(whole[:cut]), pipe).frames())
    assert received == sent[: len(received)]
    assert len(received) == len(sent) or cut < len(whole)


@pytest.mark.parametrize("size", [1, PIECE_BYTES, 2 * PIECE_BYTES + 7])
def test_files_arrive_as_they_were_also_over_an_older_one(tmp_path, size):
    source, target = tmp_path / "here.npy", tmp_path / "there.npy"
    source.write_bytes(os.urandom(size))
    pipe = io.BytesIO()
    Wire(pipe, pipe).send_files(request(labels=str(source)), stop=lambda: False)
    pipe.seek(0)
    target.write_bytes(b"of an earlier attempt" * 9)
    received = [Piece.decode(content) for _, content in Wire(pipe, pipe).frames()]
    for piece in received:
        assert (piece.job, piece.field) == (4, "labels")
        piece.write(target)
    assert target.read_bytes() == source.read_bytes()


def test_every_field_that_names_a_file_is_known():
    """Whoever adds a path to Synthesize must add it to FILES (and one that is no path, to this test)."""
    hints = get_type_hints(Synthesize)
    named = {f.name for f in fields(Synthesize) if hints[f.name] in (str, str | None)}
    assert named == {*FILES[Synthesize], "output"}


def test_files_that_a_message_lacks_are_left_out():
    assert files_of(request()) == {"labels": "l.npy"}
    moved = with_paths(request(image="i.npy"), lambda field: f"/there/{field}")
    assert (moved.labels, moved.image, moved.labels_before) == ("/there/labels", "/there/image", None)
    assert with_paths(Result(1, "ct.npy"), str.upper).output == "OUTPUT"
    assert files_of(Progress(1, "sample", 1, 2)) == {}


def test_lost_connection_is_told_apart_from_unreadable_files(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as pipe, pytest.raises(ConnectionError):
        Wire(io.BytesIO(), pipe).send(LINE, b"hello")
    with pytest.raises(FileNotFoundError):
        Wire(io.BytesIO(), io.BytesIO()).send_files(request(labels=str(tmp_path / "gone")), stop=lambda: False)


def test_bundle_holds_the_package_and_the_embedded_model():
    files = {path.relative_to(ROOT).as_posix() for path in bundled_files()}
    assert {"maisi/worker.py", "maisi/remote/server.py", "maisi/data/labels.csv"} <= files
    assert {"Resources/MAISISynth-requirements.txt", "Resources/Models/embedded.json"} <= files
    assert not any("__pycache__" in file or file.startswith("MAISI") for file in files)


def test_digest_tells_versions_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("maisi.remote.bundle.ROOT", tmp_path)
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "b.py").write_text("2")
    both = sorted(tmp_path.iterdir())
    before = digest(both)
    assert before == digest(both)
    assert before != digest(both[:1])
    (tmp_path / "b.py").write_text("3")
    assert before != digest(both)


def bootstrapped(home, content: bytes, claimed: int) -> subprocess.CompletedProcess:
    """What the first program does with an archive that is said to have ``claimed`` bytes."""
    source = f"exec({Path(bootstrap.__file__).read_text(encoding='utf-8')!a})\n".encode("ascii")
    wanted = {"digest": "0" * 64, "arguments": ["-c", "import sys; sys.stdin.read()"], "silence": 60}
    sent = source + json.dumps(wanted).encode("ascii") + f"\n{claimed}\n".encode("ascii") + content
    command = [sys.executable, *shlex.split(ssh.FIRST_PROGRAM)]
    environment = os.environ | {"HOME": str(home), "USERPROFILE": str(home)}
    return subprocess.run(command, input=sent, env=environment, capture_output=True, timeout=60)


def test_cancel_that_overtook_its_request_is_answered(tmp_path):
    """On a slow line the word Cancel passes the last words of a request, but the answer is one."""
    content, frames = archive(bundled_files()), io.BytesIO()
    wire = Wire(frames, frames)
    for message in (Cancel(4), request()):
        wire.send(LINE, encode(message).encode("ascii"))
    run = bootstrapped(tmp_path, content + frames.getvalue(), claimed=len(content))
    _, answers = run.stdout.split(b"ready \n")
    told = [decode(line.decode("ascii")) for kind, line in Wire(io.BytesIO(answers), frames).frames() if kind == LINE]
    assert [(answer.job, answer.error) for answer in told] == [(4, "cancelled")]


def test_connection_that_breaks_while_files_are_sent_leaves_no_half_of_them(tmp_path):
    run = bootstrapped(tmp_path, b"PK only the beginning", claimed=10**6)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == f"{bootstrap.MARK} send".encode("ascii")
    assert list((tmp_path / ".maisi" / "remote").iterdir()) == []


def test_files_that_cannot_be_kept_there_are_told(tmp_path):
    (tmp_path / ".maisi").write_text("a file where a folder should be")
    run = bootstrapped(tmp_path, b"", claimed=0)
    assert b"refuse MAISI's files could not be written to " in run.stdout
    assert b"make room for them" in run.stdout


def test_missing_room_for_temporary_files_is_told(tmp_path, monkeypatch):
    content = archive(bundled_files())
    full = "import tempfile\ndef full(**_):\n    raise OSError(28, 'No space left on device')\ntempfile.mkdtemp = full"
    (tmp_path / "sitecustomize.py").write_text(full)  # a Python in which no temporary folder can be made
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = bootstrapped(tmp_path, content, claimed=len(content))
    assert b"refuse the worker could not be started there (No space left on device): make room" in run.stdout


def test_versions_that_nobody_used_for_long_are_removed(tmp_path):
    store = tmp_path / ".maisi" / "remote"
    for name, days in (("old", 31), ("recent", 29)):
        (store / name / "maisi").mkdir(parents=True)
        past = (store / name).stat().st_mtime - days * 86400
        os.utime(store / name, (past, past))
    content = archive(bundled_files())
    run = bootstrapped(tmp_path, content, claimed=len(content))
    assert b"ready" in run.stdout, run.stderr
    assert sorted(path.name for path in store.iterdir()) == ["0" * 64, "recent"]


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        (255, "ssh: Could not resolve hostname gpu: Name or service not known", "the computer gpu is not known: check"),
        (255, "ssh: connect to host gpu port 22: Connection timed out", "gpu does not answer: check that it is on"),
        (255, "me@gpu: Permission denied (publickey,password).", "gpu refused the login: ssh must work there without"),
        (255, "something new", "try `ssh gpu` in a terminal (something new)"),
        (127, "sh: 1: python3: not found", "There is no Python that can be run as 'python3' on gpu"),
        (1, "'python3' is not recognized as an internal or external command,", "There is no Python that can be run"),
        (1, "SyntaxError: invalid syntax", "'python3' on gpu did not start MAISI (SyntaxError: invalid syntax)"),
        (3, "", "(exit code 3)"),
    ],
)
def test_failures_of_ssh_are_explained(code, said, words):
    told = ssh.explain("gpu", "python3", code, said.splitlines())
    assert words in told
    assert told.endswith(".")


def test_host_is_never_taken_for_an_option():
    command = ssh.command("-oProxyCommand=touch", "python3")
    assert command[command.index("--") + 1] == "-oProxyCommand=touch"
    assert "BatchMode=yes" in command


def test_ssh_gets_the_environment_from_before(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/Slicer/lib")
    monkeypatch.setenv("PYTHONHOME", "/opt/Slicer")
    before = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"} | {"LD_LIBRARY_PATH": "/mine"}
    for name, value in ssh.note_changes(os.environ, before).items():
        monkeypatch.setenv(name, value)
    assert ssh.environment() == before
