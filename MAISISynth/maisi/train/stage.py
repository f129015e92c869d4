"""What the training loop asks of a stage, and nothing else: the loop knows no CT, a stage knows no checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from maisi.volume import ImageVolume

Batch = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Where a training stands when a loss is computed.

    Attributes:
        step: optimizer steps done. fraction: 0 at the beginning, 1 at the end of all steps.
    """

    step: int
    fraction: float


class Batches(Protocol):
    """An endless stream of batches for one rank that can be put back to where it was.

    All tensors of a batch begin with the axis of its samples; "id" may name the samples, for messages. Ranks may have
    batches of different sizes: each sample of a step counts the same.

    Attributes:
        steps_per_epoch: batches of one pass over the data, the same on every rank.
        skipped: items that could not be read so far, and a sentence why, by id.
    """

    steps_per_epoch: int
    skipped: Mapping[str, str]

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]:
        """Position after the last batch that was taken; plain numbers and strings.

        That of process 0 can also be loaded by every process when there is another number of them.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Stage(nn.Module, ABC):
    """One kind of network: its losses, its data, its results.

    Networks that are not trained are no submodules, so that checkpoints do not hold them. The loop wraps the stage in
    DistributedDataParallel, so every loss goes through :meth:`forward`. A stage with opponents (a discriminator) names
    several ``players``; they are updated one after the other on each batch, each with an optimizer of its own and
    with the parameters of the others frozen.

    Attributes:
        players: what is optimized in turn. uses_all_weights: every loss reaches all weights of its player; False is
            always right, and a little slower on several processes.
    """

    players: tuple[str, ...] = ("network",)
    uses_all_weights: bool = False

    @abstractmethod
    def parameters_of(self, player: str) -> list[nn.Parameter]:
        """What ``player``'s optimizer changes."""

    @abstractmethod
    def averaged(self) -> dict[str, nn.Module]:
        """Networks whose exponential moving average is kept, validated and exported, by role (``"unet"`` ...)."""

    @abstractmethod
    def batches(self, rank: int, world: int) -> Batches:
        """Training data of this rank. The same configuration and seed give the same batches."""

    @abstractmethod
    def forward(
        self, player: str, batch: Batch, generator: torch.Generator, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one batch, and figures to log (0-dimensional, detached).

        Args:
            batch: tensors on the device. generator: the source of randomness, on the CPU; the loop seeds it (and the
                global ones of torch, numpy and random) from run seed, step and rank, so that a resumed training
                draws what an uninterrupted one draws.
        """

    @abstractmethod
    def validation(self, rank: int, world: int) -> Iterable[Batch]:
        """Held-out batches of this rank, always the same; may be empty."""

    @abstractmethod
    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Figures of one held-out batch; ``"score"`` decides which checkpoint is best (lower is better)."""

    def preview(self, generator: torch.Generator) -> dict[str, ImageVolume]:
        """Volumes to look at, by name; none by default."""
        return {}

    @abstractmethod
    def export(self, folder: Path) -> list[Path]:
        """Write the networks as ``ROLE.safetensors``, which later stages and the engine load; returns the files.

        The loop has put the averaged weights in place.
        """
