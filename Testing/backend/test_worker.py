"""The real worker process, spoken to line by line; its synthesis is pretended, except in the last test."""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import maisi
from helpers import pretend_worker
from helpers.processes import hasEnded, waitUntil
from maisi.protocol import (
    Cancel,
    Estimate,
    Estimated,
    Failure,
    Hello,
    Progress,
    Quit,
    Result,
    Synthesize,
    decode,
    encode,
)
from maisi.worker import Pace
from MAISILib.ChildProcess import ChildProcess
from MAISILib.Interpreter import Interpreter

MODELS = Path(maisi.__file__).parents[1] / "Resources" / "Models"
numbers = itertools.count(1)


class Conversation:
    """A worker process and everything it said."""

    def __init__(self, interpreter: Interpreter, *command: str) -> None:
        self.process = ChildProcess(interpreter.workerCommand(*command), interpreter.environment())
        self.printed: list[str] = []

    def say(self, *messages) -> None:
        for message in messages:
            self.process.send(encode(message))

    def hear(self):
        """The next event; what stands on stderr meanwhile is kept in ``printed``."""
        while True:
            pipe, line = self.process.lines.get(timeout=60)
            if pipe == "stdout":
                return decode(line)
            self.printed.append(line)

    def hearAll(self, job: int) -> list:
        """All events up to the end of ``job``."""
        events = [self.hear()]
        while not (isinstance(events[-1], (Result, Estimated, Failure)) and events[-1].job == job):
            events.append(self.hear())
        return events

    def answerTo(self, request: Synthesize | Estimate):
        """Send a request; its Result, Estimated or Failure."""
        self.say(request)
        return self.hearAll(request.job)[-1]

    def waitForGrandchild(self) -> psutil.Process:
        """The process that the job started; it tells the id on stderr."""

        def told():
            while not self.process.lines.empty():
                self.printed.append(self.process.lines.get()[1])
            return re.search(r"grandchild (\d+)", "\n".join(self.printed))

        return psutil.Process(int(waitUntil(told).group(1)))


@pytest.fixture(scope="module")
def a_worker(an_interpreter):
    conversation = Conversation(an_interpreter, *pretend_worker.COMMAND)
    conversation.hello = conversation.hear()
    yield conversation
    conversation.process.end()


@pytest.fixture
def a_fresh_worker(an_interpreter):
    conversation = Conversation(an_interpreter, *pretend_worker.COMMAND)
    assert isinstance(conversation.hear(), Hello)
    yield conversation
    conversation.process.end()


@pytest.fixture
def a_request(tmp_path):
    folder = tmp_path / "Ordner für Bänder"  # a path with spaces and letters outside ASCII
    folder.mkdir()
    np.save(folder / "labels.npy", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    return Synthesize(
        job=next(numbers),
        labels=str(folder / "labels.npy"),
        affine=np.diag([1.5, 1.5, 2.0, 1.0]).ravel().tolist(),
        output=str(folder / "ct.npy"),
        options={"seed": 7},
    )


def test_hello_comes_first_with_versions_and_devices(a_worker):
    assert isinstance(a_worker.hello, Hello)
    assert a_worker.hello.version == maisi.__version__
    assert re.match(r"\d+\.\d+", a_worker.hello.torch)
    [cpu] = [device for device in a_worker.hello.devices if device["name"] == "cpu"]
    assert 0 < cpu["free_gb"] <= cpu["total_gb"]


def test_result_is_written_whole_with_progress_on_the_way(a_worker, a_request):
    a_worker.say(a_request)
    *steps, result = a_worker.hearAll(a_request.job)
    assert all(isinstance(event, Progress) for event in steps)
    assert [(p.job, p.stage, p.step, p.total) for p in steps] == [(a_request.job, "sample", i, 4) for i in (1, 2, 3, 4)]
    assert steps[-1].seconds_left == 0
    assert steps[-1].memory_gb > 0.01
    assert result == Result(a_request.job, a_request.output, {"model": "embedded"})
    hu = np.load(a_request.output)
    assert (hu.dtype, hu.shape, hu[1, 2, 3]) == (np.int16, (2, 3, 4), 237)
    assert sorted(p.name for p in Path(a_request.output).parent.iterdir()) == ["ct.npy", "labels.npy"]


def test_edit_gets_the_image_and_the_labels_before(a_worker, a_request, tmp_path):
    np.save(tmp_path / "image.npy", np.full((2, 3, 4), -5, np.int16))
    np.save(tmp_path / "before.npy", np.minimum(np.load(a_request.labels), 22))
    request = replace(a_request, image=str(tmp_path / "image.npy"), labels_before=str(tmp_path / "before.npy"))
    assert isinstance(a_worker.answerTo(request), Result)
    hu = np.load(request.output)
    assert hu[1, 2, 3] == 237
    assert (hu.ravel()[:-1] == -5).all()


def test_what_a_job_prints_reaches_the_log_and_not_the_protocol(a_worker, a_request):
    assert isinstance(a_worker.answerTo(replace(a_request, options={"model": "printing"})), Result)

    def allPrinted():
        while not a_worker.process.lines.empty():
            a_worker.printed.append(a_worker.process.lines.get()[1])
        return "stdin holds ''" in a_worker.printed

    waitUntil(allPrinted)
    assert {"printed by Python", "written to descriptor 1", "printed by a child"} <= set(a_worker.printed)


def test_jobs_run_one_at_a_time_in_order(a_worker, a_request):
    second = replace(a_request, job=next(numbers))
    a_worker.say(replace(a_request, options={"model": "slow"}), second)
    jobs = [event.job for event in a_worker.hearAll(second.job)]
    assert jobs == [a_request.job] * 5 + [second.job] * 5


def test_cancel_is_heard_between_steps_and_the_worker_goes_on(a_worker, a_request):
    queued = replace(a_request, job=next(numbers), labels="never looked at.npy")
    third = replace(a_request, job=next(numbers))
    a_worker.say(replace(a_request, options={"model": "slow"}), queued, third)
    a_worker.hear()
    a_worker.say(Cancel(queued.job), Cancel(a_request.job), Cancel(job=10**6))
    events = a_worker.hearAll(third.job)
    failures = {event.job: event.error for event in events if isinstance(event, Failure)}
    assert failures == {a_request.job: "cancelled", queued.job: "cancelled"}
    assert sum(isinstance(event, Progress) and event.job == a_request.job for event in events) < 3
    assert not any(isinstance(event, Progress) and event.job == queued.job for event in events)
    assert isinstance(events[-1], Result)


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("gpu-memory", "oom", r"ran out of memory \(CUDA out of memory\. Tried to allocate 20\.00 GiB\)\."),
        ("cpu-memory", "oom", r"ran out of memory"),
        ("python-memory", "oom", r"ran out of memory \(no message\)\."),
        ("planned-memory", "oom", r"needs 40 GB"),
        ("weights", "weights", r"is damaged; download it again\.$"),
        ("input", "input", r"^The label map is empty; draw a segment first\.$"),
        ("defect", "internal", r"\(ZeroDivisionError: division by zero\)\.$"),
        ("no-json", "internal", r"JSON"),
    ],
)
def test_failures_have_a_kind_and_one_sentence(a_worker, a_request, model, kind, words):
    answer = a_worker.answerTo(replace(a_request, options={"model": model}))
    assert isinstance(answer, Failure)
    assert (answer.job, answer.error) == (a_request.job, kind)
    assert re.search(words, answer.message)
    assert "\n" not in answer.message
    assert ("Traceback" in answer.trace) == (kind != "input")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_pickled_array_is_refused_and_not_executed(a_worker, a_request, tmp_path):
    np.save(a_request.labels, np.array([Bomb(tmp_path / "exploded")], dtype=object), allow_pickle=True)
    answer = a_worker.answerTo(a_request)
    assert (answer.error, "could not be read" in answer.message) == ("input", True)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda r: replace(r, labels=r.labels + ".gone"), "could not be read"),
        (lambda r: os.truncate(r.labels, 130) or r, "could not be read"),
        (lambda r: np.save(r.labels, np.ones((2, 2, 2), np.float32)) or r, "must hold ids 0-255 as uint8"),
        (lambda r: np.save(r.labels, np.ones((2, 2), np.uint8)) or r, "3D"),
        (lambda r: replace(r, affine=r.affine[:15]), "16 numbers, got 15"),
        (lambda r: replace(r, affine=[0.0] * 16), "spacing is zero"),
        (lambda r: replace(r, image=r.labels), "both the image and the label map"),
        (lambda r: replace(r, output=r.labels + "/in/a/file.npy"), "could not be written .* choose another folder"),
        (
            lambda r: replace(r, options={"model": "folder-gone"}),
            "could not be written .*No such file.* choose another folder",
        ),
    ],
)
def test_unusable_request_gets_one_sentence(a_worker, a_request, damage, words):
    answer = a_worker.answerTo(damage(a_request))
    assert answer.error == "input"
    assert re.search(words, answer.message)


def anEstimate(edit: bool = False, **options) -> Estimate:
    return Estimate(next(numbers), [3, 4, 5], np.eye(4).ravel().tolist(), options, edit)


def test_estimate_is_answered_and_learns_from_jobs(a_fresh_worker, a_request):
    asked = anEstimate()
    assert a_fresh_worker.answerTo(asked) == Estimated(asked.job, 3.0, 4.0, "cpu, edit: False", runs=0)
    a_fresh_worker.answerTo(a_request)
    asked = anEstimate(edit=True)
    assert a_fresh_worker.answerTo(asked) == Estimated(asked.job, 3.0, 4.0, "cpu, edit: True", runs=1)


def test_estimate_that_is_refused_or_cancelled_is_told(a_fresh_worker, a_request):
    refused = a_fresh_worker.answerTo(anEstimate(model="planned-memory"))
    assert refused.error == "oom"
    assert refused.message.endswith("This grid needs 40 GB and the device has 8 GB; use a smaller one.")
    assert a_fresh_worker.answerTo(anEstimate(steps=0)).error == "input"
    asked = replace(anEstimate(), affine=[1.0])
    assert a_fresh_worker.answerTo(asked).message == "The affine must have 16 numbers, got 1."
    asked = anEstimate()
    a_fresh_worker.say(replace(a_request, options={"model": "slow"}))
    a_fresh_worker.hear()  # it is busy now
    a_fresh_worker.say(asked, Cancel(asked.job))
    assert a_fresh_worker.hearAll(asked.job)[-1].error == "cancelled"


def test_line_that_is_no_request_is_answered_and_survived(a_worker, a_request):
    a_worker.process.send("bonjour")
    answer = a_worker.hear()
    assert (answer.job, answer.error, "bonjour" in answer.message) == (0, "input", True)
    assert isinstance(a_worker.answerTo(a_request), Result)


@pytest.mark.parametrize("farewell", ["quit", "closed pipe"])
@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_worker_ends_in_the_middle_of_a_job_and_takes_its_children(a_fresh_worker, a_request, farewell):
    a_fresh_worker.say(replace(a_request, options={"model": "grandchild"}))
    grandchild = a_fresh_worker.waitForGrandchild()
    if farewell == "quit":
        a_fresh_worker.say(Quit())
    else:
        a_fresh_worker.process._popen.stdin.close()
    waitUntil(lambda: a_fresh_worker.process.exitCode is not None, 5)
    waitUntil(lambda: hasEnded(grandchild), 5)


LAUNCHER = """
import subprocess, sys
code = subprocess.run([sys.executable, *sys.argv[1:]], stdin=subprocess.DEVNULL).returncode
print("the launcher saw exit code", code, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
@pytest.mark.parametrize("ours", [True, False])
def test_launcher_is_ended_only_when_the_group_is_said_to_be_ours(ours):
    script, flag = pretend_worker.COMMAND
    conversation = Conversation(Interpreter(), "-c", LAUNCHER, script, *([flag] if ours else []))
    waitUntil(lambda: conversation.process.exitCode is not None)
    conversation.process.end()
    assert (conversation.process.exitCode == 0) is not ours
    heard = not conversation.process.lines.empty()
    assert heard is not ours


def test_time_left_comes_from_the_steps_of_this_stage(monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 14.0, 15.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    pace = Pace()
    assert pace.seconds_left("load", 0, 1) is None
    assert pace.seconds_left("sample", 1, 10) == 18.0
    assert pace.seconds_left("sample", 2, 10) == 16.0
    assert pace.seconds_left("decode", 1, 4) == 3.0


@pytest.mark.skipif(not any(MODELS.glob("*.json")), reason="the embedded model is not in this checkout")
def test_real_synthesis_through_the_real_worker(an_interpreter, a_request):
    labels = np.zeros((64, 64, 64), np.uint8)
    labels[8:-8, 12:-12] = 200
    labels[16:40, 20:44, 16:48] = 1
    np.save(a_request.labels, labels)
    affine = np.diag([4.0, 4.0, 4.0, 1.0]).ravel().tolist()
    conversation = Conversation(an_interpreter, "-m", "maisi.worker", "--own-group")
    assert isinstance(conversation.hear(), Hello)
    options = {"steps": 2, "device": "cpu"}
    before = conversation.answerTo(replace(anEstimate(**options), shape=[64, 64, 64], affine=affine))
    assert before.device == "cpu"
    assert 0.1 < before.memory_gb < 8
    answer = conversation.answerTo(replace(a_request, affine=affine, options=options))
    assert isinstance(answer, Result), answer
    hu = np.load(answer.output)
    assert (hu.shape, hu.dtype) == (labels.shape, np.int16)
    assert hu[labels == 1].mean() > hu[labels == 0].mean() + 500
    assert {"model", "model_sha256", "device", "seconds", "notices", "checks"} <= set(answer.info)
    after = conversation.answerTo(replace(anEstimate(**options), shape=[64, 64, 64], affine=affine))
    assert (before.runs, after.runs) == (0, 1)
    assert after.seconds == pytest.approx(answer.info["seconds"], rel=0.5), "it has learned"
    conversation.process.end()
