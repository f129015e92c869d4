"""No worker outlives its application, however the application ends; client and real worker process together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import psutil
import pytest

from helpers import pretend_worker
from helpers.processes import hasEnded, waitUntil
from maisi.protocol import Synthesize
from MAISILib.Job import JobCancelled, JobError
from MAISILib.Worker import Worker

APPLICATION = textwrap.dedent("""
    import re, sys, time
    from helpers import pretend_worker
    from maisi.protocol import Synthesize
    from MAISILib.Interpreter import Interpreter
    from MAISILib.Settings import Settings
    from MAISILib.Worker import Worker

    settings = Settings()
    folder, end, settings.remoteHost, settings.remotePython = sys.argv[1:]
    worker = Worker(Interpreter(settings), pretend_worker.COMMAND)
    job = worker.submit(Synthesize(0, folder + "/labels.npy", [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
                                   folder + "/ct.npy", {"model": "grandchild"}))
    while not re.search("grandchild", " ".join(job.log)):
        job.poll()
        time.sleep(0.01)
    print(worker._process.pid, *job.log, flush=True)
    if end == "stays":
        time.sleep(600)
""")


@pytest.fixture
def a_request(tmp_path):
    np.save(tmp_path / "labels.npy", np.full((2, 3, 4), 5, np.uint8))
    return Synthesize(0, str(tmp_path / "labels.npy"), np.eye(4).ravel().tolist(), str(tmp_path / "ct.npy"))


@pytest.fixture
def an_application(an_interpreter, a_request, tmp_path):
    """Starts an application whose worker has a running job, which has a child; gives all three processes."""
    started = []

    def start(end: str) -> tuple[subprocess.Popen, psutil.Process, psutil.Process]:
        environment = an_interpreter.environment()
        environment["PYTHONPATH"] += os.pathsep + os.pathsep.join(sys.path)
        machine = an_interpreter._settings.remoteHost, an_interpreter._settings.remotePython
        command = [sys.executable, "-c", APPLICATION, str(tmp_path), end, *machine]
        application = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(application)
        worker, grandchild = re.search(r"(\d+) .*grandchild (\d+)", application.stdout.readline()).groups()
        return application, psutil.Process(int(worker)), psutil.Process(int(grandchild))

    yield start
    for application in started:
        application.kill()
        application.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_application_leaves_no_process_behind(an_application, how):
    application, worker, grandchild = an_application("stays")
    application.send_signal(how)
    waitUntil(lambda: hasEnded(worker) and hasEnded(grandchild))


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_application_that_forgets_to_close_leaves_no_process_behind(an_application):
    application, worker, grandchild = an_application("leaves")
    assert application.wait(20) == 0
    waitUntil(lambda: hasEnded(worker) and hasEnded(grandchild))


def test_client_and_worker_process_understand_each_other(an_interpreter, a_request):
    worker = Worker(an_interpreter, pretend_worker.COMMAND)
    result = worker.submit(replace(a_request, options={"seed": 3})).wait(60)
    assert (np.load(result.output) == 53).all()

    slow = worker.submit(replace(a_request, options={"model": "slow"}))
    waitUntil(lambda: slow.poll() and slow.progress)
    slow.cancel()
    with pytest.raises(JobCancelled):
        slow.wait(20)

    with pytest.raises(JobError, match=r"^The label map is empty; draw a segment first\.$"):
        worker.submit(replace(a_request, options={"model": "input"})).wait(20)
    with pytest.raises(JobError, match=r"ran out of memory .* close other programs"):
        worker.submit(replace(a_request, options={"model": "gpu-memory"})).wait(20)
    defect = worker.submit(replace(a_request, options={"model": "defect"}))
    with pytest.raises(JobError, match="ZeroDivisionError"):
        defect.wait(20)
    assert any("Traceback" in line for line in defect.log)
    with pytest.raises(JobError, match="could not be written"):
        worker.submit(replace(a_request, options={"model": "folder-gone"})).wait(20)
    worker.close()
