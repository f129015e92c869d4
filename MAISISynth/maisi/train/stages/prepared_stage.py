"""Base of the stages: batches from a prepared data set, networks as a configuration says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from maisi.train.config import TrainConfig
from maisi.train.data import loading
from maisi.train.stage import Batch, Batches, Stage
from maisi.train.stages.start import Start


class PreparedStage(Stage):
    """A stage with its configuration and the networks it starts with.

    Attributes:
        kind: of batches, see :func:`maisi.train.data.loading.batches`. settings: the stage's own section.
    """

    kind: str
    settings: Any

    def __init__(self, config: TrainConfig, start: Start) -> None:
        super().__init__()
        self.config, self.start, self.settings = config, start, config.section

    def batches(self, rank: int, world: int) -> Batches:
        intensity, seed = self.start.variant.intensity, self.config.run.seed
        return loading.batches(self.config.data, self.kind, rank, world, seed, intensity)

    def validation(self, rank: int, world: int) -> Iterable[Batch]:
        return loading.held_out(self.config.data, self.kind, rank, world, self.start.variant.intensity)

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        return [p for network in self.averaged().values() for p in network.parameters() if p.requires_grad]

    def keep_apart(self, name: str, network: nn.Module) -> None:
        """Make ``network`` an attribute, but no submodule: it is not trained, so checkpoints need not hold it."""
        object.__setattr__(self, name, network.eval().requires_grad_(False))
