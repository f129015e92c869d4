"""The worker's client against a real process that misbehaves in every way a worker can."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from helpers.fake_worker import fakeWorker
from helpers.processes import hasEnded, waitUntil
from maisi.protocol import Synthesize
from MAISILib.Interpreter import Interpreter
from MAISILib.Job import JobCancelled, JobError
from MAISILib.Settings import Settings
from MAISILib.Worker import Worker


@pytest.fixture
def a_worker(an_interpreter):
    worker = Worker(an_interpreter, fakeWorker(), cancelTimeout=2.0)
    yield worker
    worker.close()


@pytest.fixture
def a_request(tmp_path):
    np.save(tmp_path / "labels.npy", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    return Synthesize(
        job=0,
        labels=str(tmp_path / "labels.npy"),
        affine=np.eye(4).ravel().tolist(),
        output=str(tmp_path / "ct.npy"),
        options={"model": "embedded", "seed": 7},
    )


def asking(request: Synthesize, model: str) -> Synthesize:
    """The same request, to be treated by the fake worker as ``model`` says."""
    return replace(request, options={**request.options, "model": model})


def processOf(job) -> psutil.Process:
    """The worker process that runs ``job``."""
    return psutil.Process(job._worker._process.pid)


def waitForGrandchild(job) -> psutil.Process:
    """The process that the worker started for ``job``; it tells the id in its log."""

    def told():
        job.poll()
        return re.search(r"grandchild (\d+)", "\n".join(job.log))

    return psutil.Process(int(waitUntil(told).group(1)))


def test_job_gives_result_progress_and_hello(a_worker, a_request):
    job = a_worker.submit(a_request)
    assert job.state == "starting"
    result = job.wait(20)
    assert (job.state, job.done, job.error) == ("done", True, "")
    assert (job.progress.stage, job.progress.step, job.progress.total) == ("sample", 3, 3)
    assert result.info["seed"] == 7
    assert np.load(result.output)[1, 2, 3] == 23 * 10 - 1000 + 7
    assert a_worker.hello.devices[0]["name"] == "cpu"


def test_two_jobs_use_one_process_in_order(a_worker, a_request):
    first = a_worker.submit(asking(a_request, "slow"))
    second = a_worker.submit(a_request)
    waitUntil(lambda: first.poll() and first.state == "running")
    assert second.state == "queued"
    process = processOf(first)
    second.wait(20)
    assert first.state == "done", "waiting for the second serves the first too"
    assert processOf(second) == process


def test_poll_tells_whether_anything_changed(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "hang"))
    waitUntil(lambda: job.poll() and job.state == "running")
    assert not job.poll()


def test_wait_with_timeout_leaves_the_job_running(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "slow"))
    with pytest.raises(TimeoutError):
        job.wait(0.01)
    assert job.wait(20)


def test_garbage_goes_to_the_log_only(an_interpreter, a_request):
    worker = Worker(an_interpreter, fakeWorker("noisy"))
    job = worker.submit(asking(a_request, "garbage"))
    assert job.wait(20).output == a_request.output
    assert "Welcome to a library that prints" in job.log
    assert "step 2" in job.log, "a progress bar's line ends without a line feed"
    worker.close()


def test_crash_fails_the_job_with_reason_advice_and_log(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "crash"))
    with pytest.raises(JobError) as caught:
        job.wait(20)
    assert caught.value.kind == job.errorKind == "internal"
    sentence, *log = job.error.splitlines()
    assert "exit code 3" in sentence
    assert "choose the device cpu" in sentence
    assert any("no kernel image" in line for line in log)


def test_next_job_after_a_crash_gets_a_new_process(a_worker, a_request):
    bad = a_worker.submit(asking(a_request, "crash"))
    good = a_worker.submit(a_request)
    assert good.wait(20)
    assert bad.state == "failed"


def test_process_that_died_while_idle_is_replaced(a_worker, a_request):
    job = a_worker.submit(a_request)
    job.wait(20)
    process = processOf(job)
    process.kill()
    waitUntil(lambda: hasEnded(process))
    assert a_worker.submit(a_request).wait(20)


def test_killed_worker_is_told_with_its_signal(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "hang"))
    waitUntil(lambda: job.poll() and job.state == "running")
    processOf(job).kill()
    with pytest.raises(JobError, match=r"SIGKILL.*Memory ran out" if sys.platform != "win32" else "ended"):
        job.wait(20)


def test_crash_ends_the_children_that_hold_its_pipes(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "crash-with-grandchild"))
    grandchild = waitForGrandchild(job)
    with pytest.raises(JobError, match="exit code 4"):
        job.wait(20)
    waitUntil(lambda: hasEnded(grandchild))


def test_out_of_memory_has_its_kind_and_advice(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "oom"))
    with pytest.raises(JobError, match=r"CUDA out of memory\. Memory ran out: .*smaller"):
        job.wait(20)
    assert job.errorKind == "oom"
    assert "Traceback: deep down" in job.log
    assert a_worker.submit(a_request).wait(20), "the worker goes on"


def test_input_error_is_passed_on_word_for_word(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "bad-input"))
    with pytest.raises(JobError):
        job.wait(20)
    assert (job.errorKind, job.error) == ("input", "The label map is empty; draw something.")


def test_lost_connection_ends_the_process_and_the_next_job_gets_another(a_worker, a_request):
    lost = a_worker.submit(asking(a_request, "disconnected"))
    waiting = a_worker.submit(a_request)
    assert waiting.wait(20)
    assert (lost.errorKind, lost.error) == ("connection", "The connection to gpu1 broke off: start again.")


def test_request_that_the_worker_cannot_read_fails(a_worker, a_request):
    with pytest.raises(JobError, match="could not be read"):
        a_worker.submit(asking(a_request, "misunderstood")).wait(20)


def test_cancel_between_steps_keeps_the_process(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "slow"))
    waitUntil(lambda: job.poll() and job.progress)
    process = processOf(job)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.wait(20)
    assert (job.result, job.error) == (None, "")
    again = a_worker.submit(a_request)
    assert again.wait(20)
    assert processOf(again) == process


def test_cancel_of_a_hanging_job_kills_the_whole_tree_and_starts_afresh(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "hang-with-grandchild"))
    grandchild, process = waitForGrandchild(job), processOf(job)
    job.cancel()
    job.cancel()
    with pytest.raises(JobCancelled):
        job.wait(20)
    waitUntil(lambda: hasEnded(grandchild) and hasEnded(process))
    assert a_worker.submit(a_request).wait(20)


def test_cancel_before_the_worker_has_it_is_immediate(a_worker, a_request):
    first = a_worker.submit(asking(a_request, "slow"))
    second = a_worker.submit(a_request)
    third = a_worker.submit(a_request)
    second.cancel()
    first.cancel()
    assert (first.state, second.state) == ("cancelled", "cancelled")
    assert third.wait(20)


def test_cancel_of_a_finished_job_changes_nothing(a_worker, a_request):
    job = a_worker.submit(a_request)
    job.wait(20)
    job.cancel()
    assert job.state == "done"


def test_crash_during_cancel_counts_as_cancelled(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "hang"))
    waitUntil(lambda: job.poll() and job.state == "running")
    job.cancel()
    processOf(job).kill()
    with pytest.raises(JobCancelled):
        job.wait(20)


def test_interrupted_wait_cancels(a_worker, a_request, monkeypatch):
    job = a_worker.submit(asking(a_request, "slow"))
    waitUntil(lambda: job.poll() and job.state == "running")

    def pressControlC(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pressControlC)
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    monkeypatch.undo()
    with pytest.raises(JobCancelled):
        job.wait(20)


def test_foreign_version_is_refused_with_advice(an_interpreter, a_request):
    worker = Worker(an_interpreter, fakeWorker("foreign"))
    job = worker.submit(a_request)
    with pytest.raises(JobError, match=r"another version of MAISI \(protocol version 99, expected 3\).*choose another"):
        job.wait(20)
    assert worker.hello is None


def test_silent_worker_times_out_and_is_ended(an_interpreter, a_request):
    worker = Worker(an_interpreter, fakeWorker("mute"), helloTimeout=3.0)
    job = worker.submit(a_request)
    process = processOf(job)
    with pytest.raises(JobError, match=r"did not start within 3 s"):
        job.wait(20)
    assert "loading, loading" in job.error
    waitUntil(lambda: hasEnded(process))


def test_worker_that_cannot_start_says_what_is_missing(an_interpreter, a_request):
    with pytest.raises(JobError, match="install the packages that MAISI needs"):
        Worker(an_interpreter, fakeWorker("broken")).submit(a_request).wait(20)


def test_missing_python_fails_the_job_and_can_be_corrected(a_request):
    settings = Settings()
    settings.python = "/no/such/python"
    worker = Worker(Interpreter(settings), arguments=fakeWorker())
    job = worker.submit(a_request)
    assert job.state == "failed"
    assert "/no/such/python is not a Python that can be run" in job.error
    settings.python = sys.executable
    assert worker.submit(a_request).wait(20)
    worker.close()


def test_close_ends_everything_and_cancels_open_jobs(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "hang-with-grandchild"))
    waiting = a_worker.submit(a_request)
    grandchild, process = waitForGrandchild(job), processOf(job)
    a_worker.close()
    assert (job.state, waiting.state) == ("cancelled", "cancelled")
    waitUntil(lambda: hasEnded(grandchild) and hasEnded(process))
    a_worker.close()
    assert a_worker.submit(a_request).wait(20), "closing is not final"


def test_close_in_the_middle_of_a_cancel_does_not_cancel_the_next_job(a_worker, a_request):
    job = a_worker.submit(asking(a_request, "hang"))
    waitUntil(lambda: job.poll() and job.state == "running")
    job.cancel()
    a_worker.close()
    assert job.state == "cancelled"
    assert a_worker.submit(a_request).wait(20)
