"""Trainings as jobs of a real SLURM of one node, which the tests start."""

from __future__ import annotations

import subprocess

import pytest

from helpers.processes import waitUntil
from helpers.training import TINY, final_state, losses, make_run, wait_for_end, wait_for_step
from maisi.errors import InputError
from maisi.train.launch import Processes
from maisi.train.slurm import job_state, live_status, submit, write_job
from maisi.train.stopping import stop


@pytest.fixture
def a_queue(a_cluster, monkeypatch):
    """The environment in which SLURM's commands find the cluster."""
    for name, value in {"SLURM_CONF": str(a_cluster), "OMP_NUM_THREADS": "1", "TINY_SECONDS": "0.05"}.items():
        monkeypatch.setenv(name, value)


def start(run) -> int:
    return submit(run, write_job(run, Processes(2), ["--time=30"], [TINY]))


@pytest.mark.usefixtures("a_queue")
def test_a_job_of_two_processes_is_followed_stopped_and_goes_on(tmp_path):
    run, _ = make_run(tmp_path / "a folder with spaces", steps=60)
    job = start(run)
    assert live_status(run).state == "starting"
    wait_for_step(run, 5)
    assert live_status(run).state == "running"
    assert "with 2 processes" in run.log.read_text()
    assert stop(run) == "It will write a checkpoint and stop."
    assert wait_for_end(run).state == "stopped"
    waitUntil(lambda: job_state(job) in ("COMPLETED", ""), 60)  # and does not queue again
    reached = final_state(run)["counts"]["step"]
    assert 5 <= reached < 60
    start(run)
    assert wait_for_end(run).state == "finished"
    assert sorted(losses(run)) == list(range(1, 61))
    assert run.log.read_text().count("step 60: loss") == 1


@pytest.mark.usefixtures("a_queue")
def test_a_job_that_waits_is_told_and_taken_out_of_the_queue(tmp_path):
    blocker = subprocess.run(
        ["sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap=sleep 300"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    run, _ = make_run(tmp_path)
    job = start(run)
    assert live_status(run).sentence == f"Job {job} waits in SLURM's queue (PENDING)."
    assert stop(run) == f"Job {job} is taken out of SLURM's queue."
    assert live_status(run).state == "stopped"
    waitUntil(lambda: job_state(job) in ("CANCELLED", ""))
    with pytest.raises(InputError, match="has ended already"):
        stop(run)
    subprocess.run(["scancel", blocker], check=True)


@pytest.mark.usefixtures("a_queue")
def test_a_job_that_ends_without_a_word_is_lost(tmp_path):
    run, _ = make_run(tmp_path)
    submit(run, write_job(run, Processes(), ["--time=30"], ["-c", "raise SystemExit"]))
    waitUntil(lambda: live_status(run).has_ended, 60)
    assert live_status(run).state == "lost"
    assert "SLURM's job" in live_status(run).sentence


@pytest.mark.usefixtures("a_queue")
def test_what_slurm_refuses_is_told(tmp_path):
    run, _ = make_run(tmp_path)
    with pytest.raises(InputError, match=r"SLURM refuses the job: .*partition"):
        submit(run, write_job(run, Processes(), ["--partition=nowhere"]))


def test_without_slurm_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    run, _ = make_run(tmp_path)
    with pytest.raises(InputError, match="SLURM is not on this machine"):
        submit(run, write_job(run, Processes()))
    run.write_launcher("slurm", job=7)
    assert live_status(run).state == "starting"  # who knows


def test_several_machines_meet_at_the_first(tmp_path):
    run, _ = make_run(tmp_path)
    text = write_job(run, Processes(8, nodes=4), ["--gpus-per-node=8"]).read_text()
    assert "#SBATCH --nodes=4\n" in text
    assert "#SBATCH --gpus-per-node=8\n" in text
    assert "--nnodes=4 --nproc-per-node=8" in text
    assert "--rdzv-endpoint=$first:$((20000 + SLURM_JOB_ID % 20000)) " in text
    with pytest.raises(InputError, match="is no option of sbatch"):
        write_job(run, Processes(), ["partition=gpu"])
