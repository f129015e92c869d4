"""How long a training is, in steps, passes over the data or hours."""

from __future__ import annotations

import math

from maisi.train.config import RunConfig
from maisi.train.stage import Progress


class Length:
    """Translates between steps, epochs, hours and the fraction done."""

    def __init__(self, config: RunConfig, batches_per_epoch: int) -> None:
        """Args: batches_per_epoch: of one process; a step takes ``config.accumulate`` of them."""
        self.steps_per_epoch = batches_per_epoch / config.accumulate
        self._seconds = config.hours and config.hours * 3600
        self.steps = config.steps or (config.epochs and max(math.ceil(config.epochs * self.steps_per_epoch), 1))

    def epoch(self, step: int) -> float:
        """Passes over the data after ``step`` steps."""
        return step / self.steps_per_epoch

    def progress(self, step: int, elapsed: float) -> Progress:
        """Where a training stands after ``step`` steps and ``elapsed`` seconds."""
        done = step / self.steps if self.steps else elapsed / self._seconds
        return Progress(step, min(done, 1.0))

    def seconds_left(self, step: int, elapsed: float, seconds_per_step: float) -> float:
        """Until the end at the present speed."""
        return (self.steps - step) * seconds_per_step if self.steps else max(self._seconds - elapsed, 0.0)
