"""What can go wrong between this machine and the one that computes; the connection is real ssh on loopback.

That a remote worker does all that a local one does is tested with the local one (fixture ``an_interpreter``).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from helpers.fake_worker import fakeWorker
from helpers.processes import hasEnded, waitUntil
from maisi.protocol import Synthesize
from MAISILib.ChildProcess import ChildProcess
from MAISILib.Job import JobCancelled, JobError
from MAISILib.Worker import Worker

MANY = (256, 256, 256)  # random ids, which do not compress: some seconds on a slow line


@pytest.fixture
def a_worker(an_ssh_server):
    worker = Worker(an_ssh_server.interpreter(), fakeWorker())
    yield worker
    worker.close()
    waitUntil(lambda: an_ssh_server.leftovers() == [])


@pytest.fixture
def a_request(tmp_path):
    """Ask for ``model`` on a label map of that shape."""

    def make(model: str = "embedded", shape: tuple[int, ...] = (2, 3, 4)) -> Synthesize:
        np.save(tmp_path / "labels.npy", np.random.default_rng(3).integers(0, 200, shape, np.uint8))
        options = {"model": model, "seed": 7}
        return Synthesize(0, str(tmp_path / "labels.npy"), [1.0] * 16, str(tmp_path / "ct.npy"), options)

    return make


def failureOf(worker: Worker, request: Synthesize) -> str:
    """What the user reads when ``request`` fails because of the connection."""
    job = worker.submit(request)
    with pytest.raises(JobError):
        job.wait(30)
    assert job.errorKind == "connection", job.error
    assert "\n" not in job.error
    return job.error


def breakConnections(server) -> None:
    """As a cut cable does, but at once: the server's processes for the logins vanish."""
    for process in server.connections():
        process.kill()


# ---- no connection


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("stranger", r"^No connection: stranger is not known to ssh yet: run `ssh stranger` once in a terminal"),
        ("impostor", r"^No connection: the key of impostor is not the one it had before"),
        ("closed-door", r"^No connection: closed-door refused the login: .*`ssh-copy-id closed-door`"),
        ("switched-off", r"^No connection: switched-off does not answer: check that it is on"),
    ],
)
def test_no_login_is_told_with_the_way_out(an_ssh_server, a_request, host, words):
    assert re.search(words, failureOf(Worker(an_ssh_server.interpreter(host), fakeWorker()), a_request()))


def test_missing_ssh_program_is_told(an_ssh_server, a_request, tmp_path):
    interpreter = an_ssh_server.interpreter()
    interpreter._folder, withSsh = tmp_path, interpreter.environment
    interpreter.environment = lambda: withSsh() | {"PATH": str(tmp_path)}
    assert "install the OpenSSH client" in failureOf(Worker(interpreter, fakeWorker()), a_request())


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("/no/such/python", r"no Python that can be run as '/no/such/python' on loopback: name another one"),
        ("/etc", r"no Python that can be run as '/etc' on loopback"),
        ("echo", r"'echo' on loopback did not start MAISI"),
        (f"{sys.executable} -S", r"^loopback: Python packages are missing there: run there \S+ -m pip install .*torch"),
    ],
)
def test_unusable_python_there_is_told(an_ssh_server, a_request, python, words):
    assert re.search(words, failureOf(Worker(an_ssh_server.interpreter(python=python), fakeWorker()), a_request()))


def test_old_python_there_is_told(an_ssh_server, a_request, tmp_path):
    old = tmp_path / "python3"
    old.write_text(
        f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c \"import sys; sys.version_info = (3, 8, 2, '', 0); $2\"\n",
        encoding="utf-8",
    )
    old.chmod(0o755)
    told = failureOf(Worker(an_ssh_server.interpreter(python=str(old)), fakeWorker()), a_request())
    assert re.search(r"is Python 3\.8 and MAISI needs 3\.10 or newer: name another Python", told)


def test_failed_connection_can_be_corrected_in_the_settings(an_ssh_server, a_request):
    interpreter = an_ssh_server.interpreter("switched-off")
    worker = Worker(interpreter, fakeWorker())
    failureOf(worker, a_request())
    interpreter._settings.remoteHost = "loopback"
    assert worker.submit(a_request()).wait(20)
    worker.close()


def test_changed_machine_counts_from_the_next_job_on(an_ssh_server, a_request):
    interpreter = an_ssh_server.interpreter()
    worker = Worker(interpreter, fakeWorker())
    worker.submit(a_request()).wait(20)
    assert len(an_ssh_server.connections()) == 1
    interpreter._settings.remoteHost = ""
    worker.submit(a_request()).wait(20)
    waitUntil(lambda: an_ssh_server.connections() == [])
    worker.close()


# ---- a connection


def test_what_login_scripts_print_is_passed_over(an_ssh_server, a_request):
    interpreter = an_ssh_server.interpreter(python=f"echo Welcome to the cluster; {sys.executable}")
    worker = Worker(interpreter, fakeWorker())
    assert worker.submit(a_request()).wait(20)
    worker.close()


def test_worker_there_uses_the_files_that_were_sent(an_ssh_server):
    interpreter = an_ssh_server.interpreter()
    command = interpreter.workerCommand("-c", "import maisi.labels; print(maisi.__file__)")
    process = ChildProcess(command, interpreter.environment())
    waitUntil(lambda: process.exitCode is not None)
    process.end()
    lines = [process.lines.get() for _ in range(process.lines.qsize())]
    assert process.exitCode == 0
    assert len(lines) == 1
    assert lines[0][1].startswith(str(an_ssh_server.home / ".maisi" / "remote"))


def test_files_of_maisi_are_sent_once(an_ssh_server, a_request, tmp_path):
    interpreter = an_ssh_server.interpreter(python=f"HOME={tmp_path / 'home'} {sys.executable}")
    for isFirst in (True, False):
        worker = Worker(interpreter, fakeWorker())
        job = worker.submit(a_request())
        job.wait(20)
        assert any(re.match(r"Sending MAISI's files to loopback \(\d+ MB, once\)", line) for line in job.log) is isFirst
        worker.close()


def test_files_of_a_job_vanish_there_with_the_job(a_worker, an_ssh_server, a_request):
    a_worker.submit(a_request()).wait(20)
    [folder] = an_ssh_server.leftovers()
    waitUntil(lambda: list(folder.iterdir()) == [])
    running = a_worker.submit(a_request("hang"))
    waitUntil(lambda: running.poll() and running.state == "running")
    waitUntil(lambda: [path.name for path in folder.rglob("*.npy")] == ["labels.npy"])


@pytest.mark.parametrize("direction", ["sent", "fetched"])
def test_cancel_while_files_travel_is_quick_and_keeps_the_connection(an_ssh_server, a_request, tmp_path, direction):
    worker = Worker(an_ssh_server.interpreter("slow-line"), fakeWorker())
    assert worker.submit(a_request()).wait(20)
    if direction == "sent":
        job = worker.submit(a_request(shape=MANY))
        arrivals = an_ssh_server.tmp, "*/*/labels.npy"
    else:
        request = a_request("noise")
        np.save(request.labels, np.zeros(MANY, np.uint8))
        job = worker.submit(request)
        arrivals = tmp_path, "ct.npy.partial"

    def isUnderWay():
        job.poll()
        return any(arrivals[0].glob(arrivals[1]))

    waitUntil(isUnderWay)
    process = worker._process.pid
    start = time.monotonic()
    job.cancel()
    with pytest.raises(JobCancelled):
        job.wait(20)
    assert time.monotonic() - start < 0.5
    assert np.load(worker.submit(a_request()).wait(20).output).shape == (2, 3, 4)
    assert worker._process.pid == process
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.npy", "labels.npy"]
    [folder] = an_ssh_server.leftovers()
    waitUntil(lambda: list(folder.iterdir()) == [])
    worker.close()


def test_result_that_cannot_be_kept_here_is_told(a_worker, a_request):
    request = replace(a_request(), output="/no/such/folder/ct.npy")
    with pytest.raises(JobError, match=r"^The result could not be written to /no/such/folder/ct\.npy \(No such file"):
        a_worker.submit(request).wait(20)
    assert a_worker.submit(a_request()).wait(20)


def test_full_disk_there_is_told_and_survived(an_ssh_server, a_request):
    worker = Worker(an_ssh_server.interpreter(python=f"ulimit -f 500; {sys.executable}"), fakeWorker())
    with pytest.raises(JobError, match=r"could not be written to \S+:\S+maisi-\S+ \(File too large\); make room there"):
        worker.submit(a_request(shape=(128, 128, 64))).wait(20)
    assert worker.submit(a_request()).wait(20)
    worker.close()


# ---- the end of a connection


def jobWithGrandchild(worker: Worker, request: Synthesize):
    """A running job, and the process that its worker started there."""
    job = worker.submit(request)

    def told():
        job.poll()
        return re.search(r"grandchild (\d+)", "\n".join(job.log))

    return job, psutil.Process(int(waitUntil(told).group(1)))


def test_broken_connection_is_told_and_the_next_job_connects_again(a_worker, an_ssh_server, a_request):
    job, grandchild = jobWithGrandchild(a_worker, a_request("hang-with-grandchild"))
    breakConnections(an_ssh_server)
    with pytest.raises(JobError, match=r"^The connection to loopback broke off \(.*\): nothing of yours was changed"):
        job.wait(20)
    waitUntil(lambda: hasEnded(grandchild) and an_ssh_server.leftovers() == [])
    assert a_worker.submit(a_request()).wait(20)


def test_waiting_job_goes_on_after_a_broken_connection(a_worker, an_ssh_server, a_request):
    job, _ = jobWithGrandchild(a_worker, a_request("hang-with-grandchild"))
    waiting = a_worker.submit(a_request())
    breakConnections(an_ssh_server)
    assert waiting.wait(20)
    assert job.state == "failed"


def test_connection_that_broke_while_idle_is_made_again(a_worker, an_ssh_server, a_request):
    a_worker.submit(a_request()).wait(20)
    process = psutil.Process(a_worker._process.pid)
    breakConnections(an_ssh_server)
    waitUntil(lambda: hasEnded(process))
    assert a_worker.submit(a_request()).wait(20)


def test_killed_relay_leaves_nothing_there(a_worker, an_ssh_server, a_request):
    _, grandchild = jobWithGrandchild(a_worker, a_request("hang-with-grandchild"))
    os.kill(a_worker._process.pid, signal.SIGKILL)
    waitUntil(lambda: hasEnded(grandchild) and an_ssh_server.leftovers() == [])


def test_end_of_all_processes_of_the_login_leaves_nothing_there(a_worker, an_ssh_server, a_request):
    """As systemd does after a logout."""
    _, grandchild = jobWithGrandchild(a_worker, a_request("hang-with-grandchild"))
    [connection] = an_ssh_server.connections()
    for process in connection.children(recursive=True):
        process.send_signal(signal.SIGTERM)
    waitUntil(lambda: hasEnded(grandchild) and an_ssh_server.leftovers() == [])


def test_silent_application_frees_the_machine_there(an_ssh_server):
    """A laptop that vanished without a word must not hold the GPU."""
    code = (
        "import sys; from maisi.remote.relay import Relay;"
        "Relay('loopback', sys.executable, ['-c', 'import time; time.sleep(600)'], silence=1.5).run()"
    )
    interpreter = an_ssh_server.interpreter()
    process = subprocess.Popen([sys.executable, "-c", code], env=interpreter.environment(), stdin=subprocess.PIPE)
    waitUntil(an_ssh_server.leftovers)
    time.sleep(2)
    assert an_ssh_server.leftovers(), "it is not silent"
    process.send_signal(signal.SIGSTOP)
    waitUntil(lambda: an_ssh_server.leftovers() == [])
    process.kill()
    process.communicate()
