"""The parts of a stage that are optimized in turn, each with an optimizer of its own (FACTS 5.2: two)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from maisi.train.config import TrainConfig
from maisi.train.ranks import Ranks
from maisi.train.stage import Batch, Progress, Stage


@dataclass(frozen=True)
class Part:
    """One batch of a step.

    Attributes:
        batch: tensors on the device. weight: of its loss, so that each sample of the step counts the same on the
            average over the processes. generator: for :meth:`Stage.forward`.
    """

    batch: Batch
    weight: float
    generator: torch.Generator


class Player:
    """Parameters of a stage that are optimized together."""

    def __init__(self, name: str, stage: Stage, config: TrainConfig, ranks: Ranks) -> None:
        """The others' parameters must be frozen meanwhile: DistributedDataParallel ignores those."""
        self._prefix = "" if name == stage.players[0] else f"{name}_"
        self.name, self._clip = name, config.run.clip or math.inf
        self.parameters = stage.parameters_of(name)
        self._optimizer = _optimizer(config, self.parameters, ranks)
        self._precision, self._device = config.run.precision, ranks.device
        half = config.run.precision == "float16"
        self._scaler = torch.amp.GradScaler(ranks.device.type, init_scale=2.0**8, enabled=half)  # FACTS 5.2
        self._module: nn.Module = stage
        if ranks.world > 1:
            self._module = DistributedDataParallel(stage, find_unused_parameters=not stage.uses_all_weights)

    def step(self, parts: Sequence[Part], progress: Progress, learning_rate: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Follow the gradient of all ``parts``, if it is finite.

        Returns:
            Norm of the gradient (not finite: nothing has changed), and sums of figures over this process's samples.
        """
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in parts:
            with self._synchronized(part is parts[-1]):
                with autocast(self._precision, self._device):
                    loss, figures = self._module(self.name, part.batch, part.generator, progress)
                self._scaler.scale(loss * part.weight).backward()
            for key, value in {self.figure("loss"): loss.detach(), **figures}.items():
                sums[key] = sums.get(key, 0) + value.float() * samples(part.batch)
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self._clip)
        if norm.isfinite():  # the same on every process, because they share the gradient
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return norm, sums

    def figure(self, name: str) -> str:
        """How a figure of this player is called in the journal: players after the first put their name before it."""
        return self._prefix + name

    def state_dict(self) -> dict[str, Any]:
        """Of optimizer and scaler; to be called on all processes, complete on the first."""
        if isinstance(self._optimizer, ZeroRedundancyOptimizer):
            self._optimizer.consolidate_state_dict(to=0)
            if dist.get_rank():
                return {}
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _synchronized(self, now: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients are exchanged once a step, with the last part."""
        is_shared = isinstance(self._module, DistributedDataParallel)
        return self._module.no_sync() if is_shared and not now else contextlib.nullcontext()


class Players:
    """All players of a stage; while it is one's turn, the weights of the others are frozen."""

    def __init__(self, stage: Stage, config: TrainConfig, ranks: Ranks) -> None:
        self._all = [p for name in stage.players for p in stage.parameters_of(name)]
        self._players = []
        for name in stage.players:
            self._thaw(stage.parameters_of(name))
            self._players.append(Player(name, stage, config, ranks))
        self._thaw(self._all)

    def turns(self) -> Iterable[Player]:
        """Each player in its turn."""
        for player in self._players:
            self._thaw(player.parameters)
            yield player
        self._thaw(self._all)

    def state_dict(self) -> dict[str, Any]:
        """Of all players, by name."""
        return {player.name: player.state_dict() for player in self._players}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        for player in self._players:
            player.load_state_dict(state[player.name])

    def _thaw(self, parameters: Iterable[nn.Parameter]) -> None:
        chosen = set(map(id, parameters))
        for parameter in self._all:
            parameter.requires_grad_(id(parameter) in chosen)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The arithmetic of networks: "float32", "bfloat16" or "float16"."""
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "float32")


def samples(batch: Batch) -> int:
    """How many there are in ``batch``: the length of its tensors."""
    return next(len(value) for value in batch.values() if isinstance(value, Tensor))


def _optimizer(config: TrainConfig, parameters: list[nn.Parameter], ranks: Ranks) -> torch.optim.Optimizer:
    settings = config.optimizer
    method = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "eps": settings.epsilon,
        "weight_decay": settings.weight_decay,
        "fused": settings.fused,
    }
    if config.run.parallel == "zero" and ranks.world > 1:
        return ZeroRedundancyOptimizer(parameters, optimizer_class=method, **options)
    return method(parameters, **options)
