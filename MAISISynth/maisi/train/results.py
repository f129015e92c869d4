"""What a training gives besides weights to go on from: figures on held-out data, weights to use, volumes to look at."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator

import torch

from maisi.errors import InputError
from maisi.files import write_volume
from maisi.train.config import RunConfig
from maisi.train.means import Means
from maisi.train.players import autocast, samples
from maisi.train.ranks import Ranks
from maisi.train.run_folder import RunFolder
from maisi.train.seeding import generator
from maisi.train.stage import Stage

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def _evaluating(stage: Stage, precision: str, device: torch.device) -> Iterator[None]:
    stage.eval()
    try:
        with torch.no_grad(), autocast(precision, device):
            yield
    finally:
        stage.train()


def validate(stage: Stage, config: RunConfig, ranks: Ranks) -> dict[str, float]:
    """Figures over all held-out batches, each sample counting the same; empty if there are none.

    Each batch has the same noise every time, so that figures of different steps can be compared.
    """
    means = Means(ranks)
    with _evaluating(stage, config.precision, ranks.device):
        for index, batch in enumerate(stage.validation(ranks.rank, ranks.world)):
            noise = generator(config.seed, "validation", ranks.rank, index)
            found = stage.validate(ranks.to_device(batch), noise)
            number = samples(batch)
            means.add({name: value * number for name, value in found.items()}, number)
    return means.take()


def write_previews(stage: Stage, config: RunConfig, ranks: Ranks, run: RunFolder, step: int) -> None:
    """Write the stage's previews. One that fails is told in the log and stops nothing."""
    try:
        with _evaluating(stage, config.precision, ranks.device):
            volumes = stage.preview(generator(config.seed, "preview"))
        run.previews.mkdir(exist_ok=True)
        for name, volume in volumes.items():
            write_volume(run.previews / f"step_{step:08d}_{name}.nii.gz", volume, f"preview of step {step}")
    except Exception as error:  # memory, disk: nothing that is worth days of training
        _log.error("The preview of step %d failed (%s). Training goes on.", step, error)


def write_weights(stage: Stage, run: RunFolder) -> None:
    """Replace the weights to use by the present ones. A disk that is full is told in the log; the old ones stay."""
    part, old = run.path / "weights.part", run.path / "weights.old"
    try:
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)
        part.mkdir()
        stage.export(part)
        with contextlib.suppress(FileNotFoundError):
            run.weights.rename(old)
        part.rename(run.weights)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError, InputError) as error:
        _log.error("The weights could not be written to %s (%s). Training goes on.", run.weights, error)
