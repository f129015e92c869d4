"""Watching folders of trainings: what grows, breaks, hangs or is not there."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
from helpers.processes import waitUntil
from helpers.watched_runs import addPreview, addRows, aRun
from maisi.errors import InputError
from maisi.train.metrics import append_row
from maisi.train.run_folder import RunFolder, Status
from MAISITrainLib import RunWatcher as module
from MAISITrainLib.Launching import argumentsBefore
from MAISITrainLib.RunDescription import runLine, runNotes, runRow
from MAISITrainLib.RunWatcher import RunWatcher


def pollUntilChanged(watcher: RunWatcher) -> None:
    waitUntil(watcher.poll)


def steps(watcher: RunWatcher) -> list[int]:
    return [row["step"] for row in watcher.view.rows]


def test_what_is_new_is_read_as_it_comes(tmp_path):
    run = aRun(tmp_path)
    watcher = RunWatcher(tmp_path, lookSeconds=0)
    assert watcher.view is None
    pollUntilChanged(watcher)
    assert (watcher.view.status.state, steps(watcher)) == ("running", [])
    addRows(run, 3, 2)
    pollUntilChanged(watcher)
    assert steps(watcher) == [1, 2]
    with run.metrics.open("ab") as file:  # half a line, as a file share may show it
        file.write(b'{"split": "train", "step": 3')
    watcher.look()
    assert steps(watcher) == [1, 2]
    with run.metrics.open("ab") as file:
        file.write(b', "loss": 1}\nthis is no row\n')
    addRows(run, 0.5, first=4)
    watcher.look()
    assert steps(watcher) == [1, 2, 3, 4]
    append_row(run.metrics, {"split": "resume", "step": 2})
    addRows(run, 9, first=3)
    preview = addPreview(run, 3, 7)
    assert watcher.look().last()["loss"] == 9
    assert steps(watcher) == [1, 2, 3]
    assert watcher.view.previews == (preview,)


def test_an_unchanged_folder_is_no_news(tmp_path):
    aRun(tmp_path)
    watcher = RunWatcher(tmp_path, lookSeconds=0)
    watcher.look()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        assert not watcher.poll()


def test_a_share_that_hangs_holds_nobody_up(tmp_path, monkeypatch):
    aRun(tmp_path)
    watcher = RunWatcher(tmp_path, lookSeconds=0)
    watcher.look()
    hangs = threading.Event()
    monkeypatch.setattr(RunFolder, "facts", lambda self: hangs.wait(20) and {})
    begin = time.monotonic()
    assert not any(watcher.poll() for _look in range(20))
    assert time.monotonic() - begin < 1
    assert watcher.view.status.state == "running", "what was seen last"
    hangs.set()


def test_it_looks_now_and_then_and_at_once_when_asked(tmp_path):
    run = aRun(tmp_path)
    watcher = RunWatcher(tmp_path, lookSeconds=600)
    pollUntilChanged(watcher)
    addRows(run, 1)
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        assert not watcher.poll()
    watcher.hurry()
    pollUntilChanged(watcher)
    assert steps(watcher) == [1]


def test_a_folder_without_a_training_is_told(tmp_path):
    with pytest.raises(InputError, match="There is no training in"):
        RunWatcher(tmp_path).look()


def test_the_end_can_be_waited_for(tmp_path):
    run = aRun(tmp_path)
    watcher = RunWatcher(tmp_path, lookSeconds=0.01)
    with pytest.raises(TimeoutError, match=r"is still running after 0\.1 s"):
        watcher.waitForEnd(0.1)
    run.write_status(Status("finished"))
    assert watcher.waitForEnd(5).state == "finished"


def test_the_queue_is_asked_rarely_and_believed(tmp_path, monkeypatch):
    """A job that waits says nothing itself."""
    run, asked = aRun(tmp_path), []
    run.status_file.unlink()
    run.write_launcher("slurm", job=7)

    def ask(folder):
        asked.append(folder)
        return Status("starting", sentence="Job 7 waits in SLURM's queue (PENDING).")

    monkeypatch.setattr(module, "live_status", ask)
    watcher = RunWatcher(tmp_path)
    for _look in range(5):
        assert "Job 7 waits" in watcher.look().status.sentence
    assert len(asked) == 1
    run.write_status(Status("running", step=3, time=time.time() + 1))
    monkeypatch.setattr(module, "live_status", lambda folder: folder.status())
    assert (watcher.look().status.state, watcher.view.status.sentence) == ("running", "")
    lost = Status("lost", sentence="SLURM's job 7 has ended.")
    monkeypatch.setattr(module, "live_status", lambda folder: lost)
    assert watcher.look().status.state == "running", "the queue was asked a moment ago"
    view = RunWatcher(tmp_path).look()
    assert (view.status.state, view.status.step) == ("lost", 3)


def test_a_training_is_told_in_words(tmp_path):
    run = aRun(
        tmp_path / "one", step=120, steps=1000, epoch=3.25, seconds_left=7260, best=0.5, best_step=100, unreadable=2
    )
    row = {"split": "train", "step": 120, "loss": 0.123456, "samples_per_second": 14.21, "memory_gb": 12.34}
    append_row(run.metrics, row)
    watcher = RunWatcher(run.path)
    assert runRow(watcher) == ("one", "", "looking", "", "", "", "")
    view = watcher.look()
    assert runRow(watcher) == ("one", "diffusion", "running", "120/1000", "2 h 1 min", "0.1235", "0.5")
    assert runLine(view) == (
        "Step 120/1000, epoch 3.2, 2 h 1 min left, 14.2 samples/s, GPU memory 12.3 GB, best 0.5 at step 100"
    )
    assert runNotes(view) == "2 items of the data could not be read; the log names them."
    run.write_status(Status("failed", step=3, sentence="The disk is full.", skipped_steps=1))
    view = watcher.look()
    assert runLine(view) == "Step 3, epoch 0.0, 14.2 samples/s, GPU memory 12.3 GB"
    assert runNotes(view).startswith("The disk is full. 1 steps were left out")


def test_a_training_goes_on_as_it_was_launched(tmp_path):
    run = aRun(tmp_path)
    assert argumentsBefore(tmp_path) == ["--nproc=2", "--launcher=local"]
    run.write_facts({"config": {}})
    assert argumentsBefore(tmp_path) == []
