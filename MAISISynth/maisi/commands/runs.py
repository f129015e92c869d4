"""``maisi runs``: trainings and how they are."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.console import print_notes, print_rows
from maisi.commands.parsing import add_command
from maisi.durations import duration
from maisi.errors import InputError
from maisi.train.metrics import Metrics
from maisi.train.run_folder import RunFolder, Status, find_runs

_HEADINGS = ("RUN", "STAGE", "STATE", "STEP", "EPOCH", "LEFT", "LOSS", "VALIDATION", "BEST")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``runs``."""
    runs = add_command(commands, "runs", _runs, "List trainings: state, step, time left, last losses.")
    runs.add_argument("folder", nargs="?", type=Path, default=Path(), help="where they are (default: here)")


def _runs(given: argparse.Namespace) -> None:
    from maisi.train.slurm import live_status

    found = [(run, live_status(run)) for run in find_runs(given.folder)]
    if not found:
        raise InputError(f"There are no trainings in {given.folder}; start one: maisi train CONFIG --run DIR")
    print_rows([_HEADINGS, *(_row(run, status) for run, status in found)])
    print_notes(f"{run.path}: {status.sentence}" for run, status in found if status.sentence)
    print_notes(
        f"{run.path}: {status.unreadable} items of the data could not be read; the log names them."
        for run, status in found
        if status.unreadable
    )


def _row(run: RunFolder, status: Status) -> tuple[str, ...]:
    metrics = Metrics(run.metrics)
    metrics.poll()
    step = f"{status.step}/{status.steps}" if status.steps else str(status.step)
    left = "" if status.seconds_left is None else duration(status.seconds_left)
    best = "" if status.best is None else f"{status.best:.4g} at {status.best_step}"
    losses = _figure(metrics.last("train").get("loss")), _figure(metrics.last("validation").get("score"))
    stage = str(run.facts()["config"].get("stage", ""))
    return (str(run.path), stage, status.state, step, f"{status.epoch:.1f}", left, *losses, best)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
