"""What runs leave behind in memory, so that their images can be edited locally: within a budget, newest first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch

from maisi.devices import free_memory_gb
from maisi.geometry import GridPlan
from maisi.request import array_sha256
from maisi.sampling.trajectory import Trajectory
from maisi.tiling.tiles import ChainStatistics
from maisi.volume import LabelVolume

SHARE = 0.25  # of the host's free memory


@dataclass(frozen=True)
class Run:
    """How an image came about.

    Attributes:
        options: values of ``Options``; a local edit goes on with the seed, the solver and the steps among them.
        grid: user's grid <-> model grid. labels: with body, on the user's grid. model_labels: on the model grid.
        latents: ``[4, i, j, k]`` float32. trajectory: how they came from noise. statistics: of the decoder's norms.
    """

    options: dict
    grid: GridPlan
    labels: LabelVolume
    model_labels: np.ndarray
    latents: np.ndarray
    trajectory: Trajectory
    statistics: ChainStatistics

    @property
    def nbytes(self) -> int:
        """Memory that the run holds."""
        arrays = (self.labels.array, self.model_labels, self.latents)
        return sum(array.nbytes for array in arrays) + self.trajectory.nbytes


class RunStore:
    """Runs by the image they made; the least recently used are dropped where they exceed the budget."""

    def __init__(self, budget: int | None = None) -> None:
        """``budget``: bytes; None: a quarter of the memory that is free when a run is to be kept; 0: keep nothing."""
        self._budget = budget
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def has_room_for(self, nbytes: int) -> bool:
        """Whether a run of this size would be kept at all."""
        return nbytes <= self._limit()

    def remember(self, image: np.ndarray, run: Run) -> None:
        """Keep ``run``, which made ``image`` ``[I, J, K]``, and drop old runs that exceed the budget."""
        if not self.has_room_for(run.nbytes):
            return
        key = array_sha256(image)
        self._runs[key] = run
        self._runs.move_to_end(key)
        while sum(kept.nbytes for kept in self._runs.values()) > self._limit():
            self._runs.popitem(last=False)

    def find(self, image: np.ndarray) -> Run | None:
        """The run that made exactly ``image``, if it is still kept."""
        if not self._runs:
            return None
        key = array_sha256(image)
        if key in self._runs:
            self._runs.move_to_end(key)
        return self._runs.get(key)

    def clear(self) -> None:
        """Drop all runs."""
        self._runs.clear()

    def _limit(self) -> float:
        if self._budget is not None:
            return self._budget
        held = sum(run.nbytes for run in self._runs.values())
        return SHARE * (free_memory_gb(torch.device("cpu")) * 1024**3 + held)


RUNS = RunStore()
