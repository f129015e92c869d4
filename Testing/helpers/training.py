"""Small trainings of helpers.tiny_stage: made, started as real processes, watched, compared."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import psutil
import torch

from helpers.processes import hasEnded, waitUntil
from maisi.train.checkpoint import read_checkpoint
from maisi.train.config import TrainConfig, make_config
from maisi.train.metrics import Metrics
from maisi.train.run_folder import RunFolder, Status

TINY = str(Path(__file__).with_name("tiny_stage.py"))


def make_run(path: Path, **changes: Any) -> tuple[RunFolder, TrainConfig]:
    """A run folder for the tiny stage. ``changes`` of the configuration's section "run"."""
    run_section = {"steps": 40, "precision": "float32", "device": "cpu", "log_every": 1, "validate_every": 20}
    run_section |= changes
    values = {
        "stage": "diffusion", "run": run_section, "data": {"prepared": str(path)},
        "optimizer": {"learning_rate": 0.01, "warmup_steps": 5},
    }  # fmt: skip
    config = make_config(values)
    run = RunFolder(path / "run")
    run.create({"config": config.model_dump(mode="json")})
    return run, config


def wait_for_end(run: RunFolder, seconds: float = 240) -> Status:
    """How the training ended."""
    waitUntil(lambda: run.status().has_ended, seconds)
    return run.status()


def wait_for_exit(pid: int) -> None:
    """Until the process is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        waitUntil(lambda: hasEnded(process), 60)


def wait_for_step(run: RunFolder, step: int, seconds: float = 240) -> None:
    """Until ``step`` steps are done."""
    metrics = Metrics(run.metrics)

    def is_there() -> bool:
        metrics.poll()
        return metrics.last().get("step", 0) >= step

    waitUntil(is_there, seconds)


def rank_processes(launcher: int) -> list[psutil.Process]:
    """The processes that torchrun has started."""
    return [child for child in psutil.Process(launcher).children() if TINY in child.cmdline()]


def a_victim(launcher: int) -> psutil.Process:
    """One of them, by chance."""
    return random.choice(waitUntil(lambda: rank_processes(launcher), 60))


def losses(run: RunFolder) -> dict[int, tuple[float, float]]:
    """Losses of both players by step."""
    metrics = Metrics(run.metrics)
    metrics.poll()
    rows = [row for row in metrics.rows if row["split"] == "train"]
    assert len(rows) == len({row["step"] for row in rows})
    return {row["step"]: (row.get("loss"), row.get("opponent_loss")) for row in rows}


def same(first: Any, second: Any) -> bool:
    """Whether two states are the same to the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first.nan_to_num(), second.nan_to_num()) and torch.equal(first.isnan(), second.isnan())
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def final_state(run: RunFolder) -> dict[str, Any]:
    """What a training ended with, but for the time it took."""
    state = read_checkpoint(run.last_checkpoint())
    state["counts"].pop("elapsed")
    return state
