"""Folders of trainings as they would be while something trains, without training: for watchers, plots and panels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from maisi.files import write_volume
from maisi.train.metrics import append_row
from maisi.train.run_folder import RunFolder, Status
from maisi.volume import ImageVolume


def aRun(path: Path, state: str = "running", stage: str = "diffusion", **status: Any) -> RunFolder:
    """A training in this state."""
    run = RunFolder(path)
    run.create({"config": {"stage": stage}, "command": ["maisi", "train", "x", "--nproc=2", "--launcher", "local"]})
    run.write_status(Status(state, time=time.time(), **status))
    return run


def addRows(run: RunFolder, *losses: float, first: int = 1, split: str = "train", name: str = "loss") -> None:
    """Rows of one figure, step by step."""
    for step, loss in enumerate(losses, first):
        append_row(run.metrics, {"step": step, "epoch": step / 10, "split": split, name: loss})


def addPreview(run: RunFolder, step: int, value: int, name: str = "sample") -> Path:
    """A small CT of one value, on an oblique grid."""
    affine = np.array([[0.0, -2, 0, 10], [3, 0, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])
    path = run.previews / f"step_{step:08d}_{name}.nii.gz"
    write_volume(path, ImageVolume(np.full((4, 3, 2), value, np.int16), affine), f"preview of step {step}")
    return path
