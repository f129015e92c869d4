"""Learning rates, as a function of where a training stands; so there is no state to keep."""

from __future__ import annotations

import math

from maisi.train.config import OptimizerConfig
from maisi.train.stage import Progress


def learning_rate(config: OptimizerConfig, progress: Progress, steps_per_epoch: float) -> float:
    """Rate of the next step.

    Args:
        steps_per_epoch: optimizer steps of one pass over the data.
    """
    return config.learning_rate * _warm_up(config, progress.step, steps_per_epoch) * _decay(config, progress.fraction)


def _warm_up(config: OptimizerConfig, step: int, steps_per_epoch: float) -> float:
    length = max(config.warmup_steps, config.warmup_epochs * steps_per_epoch)
    if step >= length:
        return 1.0
    if config.warmup == "linear":
        return (step + 1) / (length + 1)
    return 0.01 if step < length / 2 else 0.1


def _decay(config: OptimizerConfig, fraction: float) -> float:
    left = max(1.0 - fraction, 0.0)
    if config.schedule == "polynomial":
        return left**config.power
    if config.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    return 1.0
