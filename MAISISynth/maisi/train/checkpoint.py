"""Everything that is needed to go on, in one file that is there as a whole or not at all."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from maisi.train.run_folder import RunFolder

KEPT = 2  # the newest may turn out to be damaged
_log = logging.getLogger(__name__)


def save_checkpoint(run: RunFolder, step: int, state: dict[str, Any]) -> str:
    """Write ``state`` as the newest checkpoint and remove old ones.

    Returns:
        "", or a sentence if it could not be written (full disk): the earlier ones stay then.
    """
    path = run.checkpoints / f"step_{step:08d}.pt"
    part = path.with_suffix(".part")
    try:
        run.checkpoints.mkdir(exist_ok=True)
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        part.unlink(missing_ok=True)
        kept = run.last_checkpoint()
        stays = f"the one of step {int(kept.stem[5:])} stays" if kept else "there is no earlier one"
        return f"The checkpoint of step {step} could not be written ({error}); {stays}."
    for old in sorted(run.checkpoints.glob("step_*.pt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return ""


def newest_checkpoint(run: RunFolder) -> Path | None:
    """The newest checkpoint that can be read; one that cannot is told in the log and set aside, not removed."""
    for path in sorted(run.checkpoints.glob("step_*.pt"), reverse=True):
        try:
            read_checkpoint(path)
        except Exception as error:  # whatever a damaged file makes of the reader
            _log.error("%s cannot be read (%s); it is renamed, and the one before is taken.", path, error)
            path.replace(path.with_suffix(".damaged"))
        else:
            return path
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What :func:`save_checkpoint` was given, on the CPU."""
    return torch.load(path, map_location="cpu", weights_only=True)
