"""Starting trainings as torchrun."""

from __future__ import annotations

import os
import socket
import time

import psutil
import pytest

from helpers.processes import waitUntil
from helpers.training import TINY, final_state, make_run, same, wait_for_end, wait_for_exit
from maisi.errors import InputError
from maisi.train.launch import ENVIRONMENT, Processes, joins, launch, torchrun
from maisi.train.run_folder import RunFolder, Status, write_json
from maisi.train.stopping import stop


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_two_machines_train_what_one_trains(tmp_path):
    """Two torchruns of one process each, which meet at a port, and one of two."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        meeting = Processes(1, 2, f"localhost:{server.getsockname()[1]}")
    apart, _ = make_run(tmp_path / "apart", steps=8)
    together, _ = make_run(tmp_path / "together", steps=8)
    assert not joins(apart, meeting)
    first = launch(apart, meeting, [TINY])
    assert joins(apart, meeting)
    launch(apart, meeting, [TINY])
    assert apart.launcher()["pid"] == first
    launch(together, Processes(2), [TINY])
    assert wait_for_end(apart).state == wait_for_end(together).state == "finished"
    assert not joins(apart, meeting)
    assert same(final_state(apart), final_state(together))


def test_an_optimizer_in_shares_trains_the_same_and_goes_on(tmp_path):
    """Stopped on the way: the shares come together in the checkpoint, which one process alone can read."""
    whole, _ = make_run(tmp_path / "whole", steps=8)
    shared, _ = make_run(tmp_path / "shared", steps=8, parallel="zero")
    launch(whole, Processes(2), [TINY])
    for _ in range(2):
        launch(shared, Processes(2), [TINY])
        if not shared.last_checkpoint():
            shared.request_stop()  # after its first step
        wait_for_end(shared)
    assert shared.status().state == wait_for_end(whole).state == "finished"
    first, second = final_state(whole), final_state(shared)
    for part in ("stage", "averages"):
        assert same(first[part], second[part])
    moments = [state["players"]["network"]["optimizer"]["state"] for state in (first, second)]
    assert len(moments[0]) == len(moments[1]) > 0


def test_a_stop_that_comes_before_the_processes_are_there_is_heard(tmp_path):
    run, _ = make_run(tmp_path, steps=1000)
    run.request_stop()
    launch(run, Processes(), [TINY])  # the stop file of an earlier sitting does not count
    assert not run.stop_file.exists()
    run.request_stop()
    assert wait_for_end(run).state == "stopped"
    assert run.last_checkpoint().name == "step_00000001.pt"


STUCK = """
import signal, sys, time
from pathlib import Path
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
Path(sys.argv[-1], "here").touch()
time.sleep(600)
"""


def test_a_training_that_does_not_answer_can_be_ended(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "1")
    run, _ = make_run(tmp_path)
    (tmp_path / "stuck.py").write_text(STUCK)
    pid = launch(run, Processes(2), [str(tmp_path / "stuck.py")])
    waitUntil((run.path / "here").exists, 60)
    assert stop(run) == "It will write a checkpoint and stop."
    waitUntil(lambda: len(psutil.Process(pid).children()) == 2)
    stuck = psutil.Process(pid).children()
    assert stop(run, now=True).startswith("It ends within two minutes")
    for process in [pid, *(process.pid for process in stuck)]:
        wait_for_exit(process)


def test_a_training_on_another_computer_is_not_ended_from_here(tmp_path):
    run, _ = make_run(tmp_path)
    run.write_status(Status("running", time=time.time()))
    with pytest.raises(InputError, match="can be done where it was started"):
        stop(run, now=True)
    write_json(run.launcher_file, {"kind": "local", "pid": os.getpid(), "host": "elsewhere"})
    with pytest.raises(InputError, match="can be done on elsewhere"):
        stop(run, now=True)


def test_a_program_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    run, _ = make_run(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "no python"))
    with pytest.raises(InputError, match="could not be started"):
        launch(run, Processes())
    assert run.launcher() == {}


def test_the_command_is_torchruns():
    command = torchrun(RunFolder("/runs/mine"), Processes(4, 2, "node7:29500"))
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--nproc-per-node=4", "--rdzv-endpoint=node7:29500", "--rdzv-id=mine"} <= set(command)
    assert command[-3:] == ["-m", "maisi.train.rank", "/runs/mine"]
