"""Run folders: of trainings started by anybody, complete or not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maisi.errors import InputError
from maisi.train.heartbeat import Heartbeat
from maisi.train.metrics import Metrics, append_row
from maisi.train.run_folder import RunFolder, Status, find_runs, write_json


@pytest.fixture
def a_run(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create({"config": {"stage": "diffusion"}})
    return run


@pytest.fixture
def an_ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def says(run: RunFolder, state: str, age: float = 0, **more) -> None:
    run.write_status(Status(state, step=7, steps=10, time=time.time() - age, **more))


def test_a_folder_is_made_once(a_run):
    with pytest.raises(InputError, match="already; go on with it"):
        a_run.create({})
    assert a_run.facts()["config"] == {"stage": "diffusion"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run").create({})


def test_a_training_passes_through_its_states(a_run):
    a_run.write_launcher("local", pid=os.getpid())
    assert a_run.status().state == "starting"
    says(a_run, "running")
    assert (a_run.status().state, a_run.status().step) == ("running", 7)
    a_run.request_stop()
    assert a_run.status().state == "stopping"
    says(a_run, "stopped")
    assert a_run.status().state == "stopped"
    a_run.write_launcher("local", pid=os.getpid())  # started again: what was said before no longer counts
    assert (a_run.status().state, a_run.status().step) == ("starting", 7)
    assert not a_run.stop_file.exists()


def test_one_started_by_hand_is_known_by_its_heartbeat(a_run):
    says(a_run, "running")
    assert a_run.status().state == "running"
    says(a_run, "running", age=300)
    assert a_run.status().state == "lost"


def test_one_whose_process_is_gone_is_lost_soon(a_run, an_ended_process):
    a_run.write_launcher("local", pid=an_ended_process)
    assert a_run.status().state == "lost"
    write_json(a_run.launcher_file, {**a_run.launcher(), "time": time.time() - 100})
    says(a_run, "running", age=5)
    assert a_run.status().state == "running"  # torchrun was killed, its processes go on for a moment
    says(a_run, "running", age=20)
    assert a_run.status().state == "lost"


def test_a_process_id_of_another_machine_says_nothing(a_run, an_ended_process):
    a_run.write_launcher("local", pid=an_ended_process)
    write_json(a_run.launcher_file, {**a_run.launcher(), "host": "not " + socket.gethostname()})
    says(a_run, "running")
    assert a_run.status().state == "running"


def test_a_known_error_tells_why(a_run, an_ended_process):
    a_run.write_launcher("local", pid=an_ended_process)
    a_run.write_failure("ConnectionError: gone", final=False)
    a_run.write_failure("a later error, caused by the first", final=False)
    assert (a_run.status().state, a_run.status().sentence) == ("failed", "ConnectionError: gone")


def test_an_error_that_torchrun_repairs_is_no_failure_yet(a_run):
    a_run.write_launcher("local", pid=os.getpid())
    says(a_run, "running")
    a_run.write_failure("killed", final=False)
    assert a_run.status().state == "running"
    a_run.forget_end(stop=False)
    a_run.write_failure("There are no items.", final=True)
    assert a_run.status().state == "failed"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"state": 5', "\x00\xff"])
def test_records_that_are_broken_are_absent(a_run, content):
    for file in (a_run.status_file, a_run.launcher_file, a_run.failure_file):
        file.write_text(content)
    assert a_run.status().state == "starting"
    assert a_run.launcher() == {}


def test_trainings_are_found_in_subfolders_the_newest_first(tmp_path):
    for name in ("a", "b/c", "b/d/e"):
        RunFolder(tmp_path / name).create({"config": {}})
    (tmp_path / "vary").mkdir()
    (tmp_path / "vary" / "run.json").write_text("{}")
    assert [run.path.relative_to(tmp_path).as_posix() for run in find_runs(tmp_path)] == ["b/d/e", "b/c", "a"]


def test_the_log_is_read_from_its_end(a_run):
    a_run.log.write_text("".join(f"line {n}\n" for n in range(1000)))
    assert a_run.log_tail(40).splitlines() == ["line 996", "line 997", "line 998", "line 999"]


def test_a_heartbeat_bears_a_folder_that_is_gone(tmp_path):
    with Heartbeat(RunFolder(tmp_path / "gone")) as heartbeat:
        heartbeat.say(state="running")
    assert not (tmp_path / "gone").exists()


# ---- metrics

ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"step": st.integers(1, 50), "split": st.just("train"), "loss": st.floats(0, 9)}),
        st.sampled_from([b"{broken", b"", b"[1, 2]", b'{"step": "x", "split": "train"}', b'{"step": 3}', b"\xff\xfe"]),
    ),
    max_size=20,
)


@given(ROWS, st.lists(st.integers(1, 80), max_size=20))
def test_rows_are_read_as_they_come_however_they_are_cut(tmp_path_factory, lines, cuts):
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    metrics, written = Metrics(path), 0
    assert not metrics.poll()
    for cut in [*cuts, len(content)]:
        with path.open("ab") as file:
            file.write(content[written : written + cut])
        written += cut
        metrics.poll()
    assert metrics.rows == [line for line in lines if isinstance(line, dict)]


def test_rows_after_the_checkpoint_that_a_training_goes_on_from_are_void(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        append_row(metrics.path, {"split": "train", "step": step, "loss": step / 10})
    append_row(metrics.path, {"split": "resume", "step": 20})
    append_row(metrics.path, {"split": "train", "step": 30, "loss": 2.5})
    assert metrics.poll()
    assert metrics.series("loss") == ([10, 20, 30], [1.0, 2.0, 2.5])
    assert not metrics.poll()


def test_a_row_that_was_cut_off_spoils_no_other(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    metrics.path.write_text('{"step": 1, "split": "tra')  # the disk was full
    append_row(metrics.path, {"split": "train", "step": 2, "loss": 1.0})
    metrics.poll()
    assert [row["step"] for row in metrics.rows] == [2]


def test_a_shorter_file_in_the_place_of_the_first_is_read_anew(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    append_row(metrics.path, {"split": "train", "step": 1, "loss": 0.123})
    metrics.poll()
    metrics.path.unlink()
    append_row(metrics.path, {"split": "train", "step": 5})
    assert metrics.poll()
    assert [row["step"] for row in metrics.rows] == [5]


def test_the_readers_need_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import maisi.train.run_folder, maisi.train.metrics, maisi.train.slurm"
    )
    code += "; print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    root = Path(__file__).parents[3] / "MAISISynth"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert set(found.stdout.split()) <= {*sys.stdlib_module_names, "maisi"}
