"""The order in which samples are seen: endless, in batches of one shape, over all processes.

The paper's bucketed data parallel (FACTS 5.3) leaves open how an epoch ends when the counts of the buckets do not
divide. Here the batches of all epochs form one endless sequence, and process ``rank`` of ``world`` takes every
``world``-th of them. So nothing is padded, repeated or dropped: an epoch may end in the middle of a step, whose other
processes begin the next one. The batches of a bucket are of nearly equal size, none larger than asked for. As
far as counts allow the batches of one step come from one bucket, so that no process waits for another's larger image.

With equal weights every sample is seen exactly once in an epoch. With other weights an epoch has as many draws as there
are samples, and a sample's number of draws is the expected one, rounded up or down at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Draw:
    """One sample of one epoch: its index, and how often it was drawn before in that epoch."""

    index: int
    before: int = 0


@dataclass(frozen=True)
class Planned:
    """One batch: its ``number`` in the endless sequence, its ``epoch``, its ``draws``, all of one ``shape``."""

    number: int
    epoch: int
    shape: Shape
    draws: tuple[Draw, ...]


@dataclass(frozen=True)
class _Epoch:
    """``first``: number of its first batch in the sequence. ``world``: processes it was arranged for."""

    index: int
    first: int
    world: int


class Stream:
    """The endless sequence of batches of a data set.

    Args:
        shapes: of each sample. weights: of each sample, not negative. batch_size: of a shape. seed: of the order.

    Raises:
        ValueError: no sample, or all weights are 0.
    """

    def __init__(
        self, shapes: Sequence[Shape], weights: Sequence[float], batch_size: Callable[[Shape], int], seed: int
    ) -> None:
        self.shapes, self.batch_size, self.seed = [tuple(shape) for shape in shapes], batch_size, seed
        self.weights = np.asarray(weights, float)
        if not len(self.shapes) or not self.weights.sum() > 0:
            raise ValueError("a stream needs samples with a weight")
        self._arranged = lru_cache(maxsize=2)(self._arrange)

    def start(self, world: int) -> dict[str, Any]:
        """The position before the first batch."""
        return {"number": 0, "epoch": 0, "first": 0, "world": world}

    def batches(self, position: dict[str, Any], rank: int, world: int) -> Iterator[Planned]:
        """What ``rank`` of ``world`` takes from ``position`` on; the position may come from another ``world``."""
        epoch, number = _Epoch(position["epoch"], position["first"], position["world"]), position["number"] + rank
        while True:
            epoch = self._find(epoch, number, world)
            yield self._arranged(epoch)[number - epoch.first]
            number += world

    def after(self, position: dict[str, Any], steps: int, world: int) -> dict[str, Any]:
        """The position after all processes took ``steps`` batches from ``position``; the same on each of them."""
        number = position["number"] + steps * world
        begun = _Epoch(position["epoch"], position["first"], position["world"])
        epoch = self._find(begun, max(number - 1, begun.first), world)
        return {"number": number, "epoch": epoch.index, "first": epoch.first, "world": epoch.world}

    def length(self) -> int:
        """Batches of the first epoch over all processes; with equal weights, of every epoch."""
        return len(self._arranged(_Epoch(0, 0, 1)))

    def _find(self, epoch: _Epoch, number: int, world: int) -> _Epoch:
        """The epoch that the batch ``number`` is in, from ``epoch`` on; later ones are arranged for ``world``."""
        while number >= (end := epoch.first + len(self._arranged(epoch))):
            epoch = _Epoch(epoch.index + 1, end, world)
        return epoch

    def _arrange(self, epoch: _Epoch) -> list[Planned]:
        """The batches of an epoch in their order."""
        rng = np.random.default_rng((self.seed, epoch.index))
        buckets: dict[Shape, list[Draw]] = {}
        for index, count in enumerate(self._counts(rng)):
            buckets.setdefault(self.shapes[index], []).extend(Draw(index, before) for before in range(count))
        runs, rest = [], []
        for shape, draws in buckets.items():
            parts = _split([draws[i] for i in rng.permutation(len(draws))], self.batch_size(shape))
            whole = len(parts) - len(parts) % epoch.world
            runs += [parts[i : i + epoch.world] for i in range(0, whole, epoch.world)]
            rest += parts[whole:]
        order = _fill_steps(runs, [rest[i] for i in rng.permutation(len(rest))], -epoch.first % epoch.world, rng)
        return [
            Planned(epoch.first + i, epoch.index, self.shapes[draws[0].index], tuple(draws))
            for i, draws in enumerate(order)
        ]

    def _counts(self, rng: np.random.Generator) -> np.ndarray:
        """How often each sample is drawn: systematic resampling in a random order."""
        count = len(self.weights)
        if (self.weights == self.weights[0]).all():
            return np.ones(count, int)
        order = rng.permutation(count)
        ends = np.cumsum(self.weights[order]) * count / self.weights.sum()
        ends[-1] = count
        marks = np.floor(ends + rng.random())
        counts = np.empty(count, int)
        counts[order] = np.diff(marks, prepend=0.0)
        return counts


def _split(draws: list[Draw], size: int) -> list[list[Draw]]:
    """As few parts of nearly equal size as can be, none larger than ``size``."""
    count = -(-len(draws) // size)
    return [draws[len(draws) * i // count : len(draws) * (i + 1) // count] for i in range(count)]


def _fill_steps(
    runs: list[list[list[Draw]]], rest: list[list[Draw]], open_places: int, rng: np.random.Generator
) -> list[list[Draw]]:
    """Runs (a step of one bucket each) and the rest, in random order.

    The first ``open_places`` batches go to the step that the epoch before left open, so that runs fill whole steps.
    """
    order = [runs[i] for i in rng.permutation(len(runs))]
    while len(rest) < open_places and order:
        rest = rest + order.pop()
    first, rest = rest[:open_places], rest[open_places:]
    world = len(order[0]) if order else max(len(rest), 1)
    groups = [rest[i : i + world] for i in range(0, len(rest), world)]
    last = [groups.pop()] if groups and len(groups[-1]) < world else []
    mixed = order + groups
    steps = [mixed[i] for i in rng.permutation(len(mixed))] + last
    return [*first, *(draws for step in steps for draws in step)]
