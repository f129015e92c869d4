"""Trainings as real processes, interrupted at random moments: they end as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest

from helpers.training import (
    TINY,
    a_victim,
    final_state,
    losses,
    make_run,
    same,
    wait_for_end,
    wait_for_exit,
    wait_for_step,
)
from maisi.train.launch import Processes, launch

STEPS = 80
TWO = Processes(2)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")


@pytest.fixture(autouse=True)
def a_slow_data_set_with_a_bad_batch(monkeypatch):
    """One thread, so that sums have one order; two steps whose loss is not finite, on one process alone."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TINY_SECONDS", "0.05")
    monkeypatch.setenv("TINY_NAN", "30:32")


def test_an_interrupted_training_ends_like_one_that_was_not(tmp_path):
    """A rank is killed twice (torchrun starts all again), SIGTERM, the stop file: at random moments, in any order."""
    whole, _ = make_run(tmp_path / "whole", steps=STEPS, checkpoint_steps=10)
    launch(whole, TWO, [TINY])
    often, _ = make_run(tmp_path / "often", steps=STEPS, checkpoint_steps=10)
    moments = sorted(random.sample(range(8, STEPS - 8), 4))
    ways = random.sample(["kill", "kill", "term", "stop"], 4)
    print("moments", moments, "ways", ways)  # shown when the test fails
    launcher = launch(often, TWO, [TINY])
    for step, way in zip(moments, ways, strict=True):
        wait_for_step(often, step)
        if way == "kill":
            a_victim(launcher).kill()
            continue
        often.request_stop() if way == "stop" else os.kill(launcher, signal.SIGTERM)
        status = wait_for_end(often)
        assert (status.state, status.sentence) == ("stopped", "")
        assert status.step >= step
        wait_for_exit(launcher)
        launcher = launch(often, TWO, [TINY])
    assert wait_for_end(often).state == wait_for_end(whole).state == "finished"
    assert "Starts again" in often.log.read_text()
    assert losses(often) == losses(whole)
    assert losses(whole)[31] == (None, losses(whole)[31][1])  # the bad step of one player, left out on both processes
    assert same(final_state(often), final_state(whole))
    assert (often.weights / "line.safetensors").read_bytes() == (whole.weights / "line.safetensors").read_bytes()
    assert often.status().skipped_steps == 2
