"""A stage that trains in a moment, with a player and an opponent, and a program that runs it as a rank.

``python tiny_stage.py RUN`` takes the place of ``python -m maisi.train.rank RUN``. The environment makes it fail:
TINY_SECONDS each batch takes as long; TINY_NAN=A:B no finite loss in steps A to B-1, on rank 0 alone;
TINY_SIZES=3,1 samples of a batch on rank 0, 1 ...; TINY_NOISE scale of the noise, which differs between ranks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from maisi.train.config import TrainConfig
from maisi.train.rank import run_rank
from maisi.train.run_folder import RunFolder
from maisi.train.stage import Batch, Stage
from maisi.volume import ImageVolume

CASES = 24


class TinyBatches:
    """Numbers of a line with noise, in an order that changes with each pass; rank 0 gets ``sizes[0]`` at once ..."""

    def __init__(self, rank: int, sizes: tuple[int, ...], seed: int) -> None:
        self._first, self._size, self._all = sum(sizes[:rank]), sizes[rank], sum(sizes)
        self._seed, self._taken = seed, 0
        self.steps_per_epoch = CASES // self._all
        self.skipped = {"case_3": "the file is cut off"}

    def __iter__(self) -> Iterator[Batch]:
        while True:
            epoch, index = divmod(self._taken, self.steps_per_epoch)
            order = np.random.default_rng([self._seed, epoch]).permutation(CASES)
            begin = index * self._all + self._first
            chosen = order[begin : begin + self._size]
            self._taken += 1
            time.sleep(float(os.environ.get("TINY_SECONDS", 0)))
            x = torch.as_tensor(chosen, dtype=torch.float32)[:, None] / CASES
            yield {"x": x, "y": 3 * x - 1, "id": [f"case_{number}" for number in chosen]}

    def state_dict(self) -> dict[str, int]:
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._taken = state["taken"]


class TinyStage(Stage):
    """Fits a line; the opponent fits the error. The target has noise from the generators."""

    players = ("network", "opponent")

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        self.opponent = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.unused = nn.Linear(2, 2)  # DistributedDataParallel must bear it
        self.config, self.noise = config, float(os.environ.get("TINY_NOISE", 0.1))

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        networks = {"network": [self.line, self.unused], "opponent": [self.opponent]}[player]
        return [p for network in networks for p in network.parameters()]

    def averaged(self) -> dict[str, nn.Module]:
        return {"line": self.line}

    def batches(self, rank: int, world: int) -> TinyBatches:
        sizes = tuple(map(int, os.environ["TINY_SIZES"].split(","))) if "TINY_SIZES" in os.environ else (2,) * world
        return TinyBatches(rank, sizes, self.config.run.seed)

    def forward(self, player, batch, generator, progress):
        if player == "network":
            noise = self.noise * (torch.randn(batch["y"].shape, generator=generator) + torch.randn(1))
            error = self.line(batch["x"]) - batch["y"] - noise.to(batch["y"])
            loss = error.square().mean() - 0.01 * self.opponent(torch.cat([batch["x"], error], 1)).mean()
            begin, end = map(int, os.environ.get("TINY_NAN", "0:0").split(":"))
            if begin <= progress.step < end and os.environ.get("RANK", "0") == "0":
                loss = loss * torch.nan
            return loss, {"error": error.detach().abs().mean()}
        with torch.no_grad():
            error = self.line(batch["x"]) - batch["y"]
        return (self.opponent(torch.cat([batch["x"], error], 1)) - error).square().mean(), {}

    def validation(self, rank: int, world: int) -> Iterable[Batch]:
        for number in range(rank, 5, world):
            x = torch.full((1, 1), number / 5)
            yield {"x": x, "y": 3 * x - 1}

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        return {"score": float((self.line(batch["x"]) - batch["y"]).abs().mean())}

    def preview(self, generator: torch.Generator) -> dict[str, ImageVolume]:
        return {"ct": ImageVolume(np.full((4, 3, 2), 40, np.int16), np.eye(4))}

    def export(self, folder: Path) -> list[Path]:
        save_file(self.line.state_dict(), folder / "line.safetensors")
        return [folder / "line.safetensors"]


if __name__ == "__main__":
    sys.exit(run_rank(RunFolder(Path(sys.argv[1])), lambda config, device: TinyStage(config)))
