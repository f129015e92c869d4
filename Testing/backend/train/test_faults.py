"""What goes wrong from outside: a full disk, an error of one process, a wrong configuration."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from helpers.processes import hasEnded, waitUntil
from helpers.training import (
    TINY,
    final_state,
    losses,
    make_run,
    rank_processes,
    wait_for_end,
    wait_for_step,
)
from maisi.train.launch import Processes, launch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of file sizes")

# No file may grow beyond the limit: writing fails as on a full disk, in the middle of a file.
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_limited(run, limit: int) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", LIMITED, str(limit), TINY, str(run.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_full_disk_costs_a_checkpoint_but_not_the_training(tmp_path):
    run, config = make_run(tmp_path, steps=8, checkpoint_steps=4, log_every=4, validate_every=0)
    assert run_limited(run, 10_000_000).returncode == 0
    kept = run.last_checkpoint()
    run.write_facts({"config": {**run.facts()["config"], "run": {**config.run.model_dump(), "steps": 24}}})
    said = run_limited(run, kept.stat().st_size // 2)
    assert said.returncode == 0, said.stderr
    assert "The checkpoint of step 12 could not be written" in run.log_tail()
    assert "the one of step 8 stays. Training goes on." in run.log_tail()
    assert run.status().state == "finished"
    assert "The checkpoint of step 24 could not be written" in run.status().sentence
    assert {path.name for path in run.checkpoints.iterdir()} == {"step_00000004.pt", "step_00000008.pt"}  # no half one
    assert final_state(run)["counts"]["step"] == 8
    assert run_limited(run, 10_000_000).returncode == 0  # there is room again
    assert final_state(run)["counts"]["step"] == 24
    assert max(losses(run)) == 24


def test_processes_whose_torchrun_was_killed_stop_with_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_SECONDS", "0.05")
    run, _ = make_run(tmp_path, steps=2000, validate_every=0)
    launcher = psutil.Process(launch(run, Processes(2), [TINY]))
    wait_for_step(run, 3)
    ranks = rank_processes(launcher.pid)
    launcher.kill()
    waitUntil(lambda: all(map(hasEnded, ranks)), 60)
    assert run.status().state == "stopped"
    assert final_state(run)["counts"]["step"] == run.status().step >= 3


def test_what_the_user_has_to_put_right_is_told_and_not_tried_again(tmp_path):
    run, _ = make_run(tmp_path, steps=8)
    facts = run.facts()
    facts["config"]["run"]["seed"] = -1
    run.write_facts(facts)
    launch(run, Processes(2), [TINY])
    status = wait_for_end(run)
    assert status.state == "failed"
    assert "run.seed cannot be -1 (Input should be greater than or equal to 0)." in status.sentence
    assert "Starts again" not in run.log.read_text()
