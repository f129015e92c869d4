"""Means of figures over steps and processes, in which each sample counts the same."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from maisi.train.ranks import Ranks


class Means:
    """Collects sums on this process. Processes and steps may have different figures."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sums: dict[str, Tensor | float] = {}  # tensors stay on their device until they are needed
        self._samples: dict[str, int] = {}

    def add(self, sums: Mapping[str, Tensor | float], samples: int) -> None:
        """Take sums over ``samples`` samples of this process into account."""
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._samples[name] = self._samples.get(name, 0) + samples

    def take(self) -> dict[str, float]:
        """Means since the last time, over all processes, the same on each."""
        mine = {name: (float(total), self._samples[name]) for name, total in self._sums.items()}
        self._sums, self._samples = {}, {}
        totals: dict[str, tuple[float, int]] = {}
        for theirs in self._ranks.gather(mine):
            for name, (total, samples) in theirs.items():
                before, counted = totals.get(name, (0.0, 0))
                totals[name] = before + total, counted + samples
        return {name: total / samples for name, (total, samples) in totals.items()}
