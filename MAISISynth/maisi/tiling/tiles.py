"""Exact tiles: a chain of layers run piece by piece with the numbers of the whole.

The receptive field of a chain is finite except for its group norms, whose statistics span the volume. Here they are
gathered over all tiles before they are needed, one pass for each norm; then each tile is computed with a halo as wide
as the receptive field. Between two *cuts* the chain runs from a stored tensor: more cuts mean less recomputation, fewer
mean less memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor

from maisi.models.norms import Statistics
from maisi.tiling.chain import Chain, Interval
from maisi.volume import Box

Shape = tuple[int, int, int]
Tile = tuple[Interval, Interval, Interval]
ChainStatistics = dict[int, Tensor]  # layer -> [2, C]: mean and variance of the input of its norm, by channel


@dataclass(frozen=True)
class Tiles:
    """How to run a chain in tiles.

    Attributes:
        size: largest edge of a tile in voxels of the chain's coarsest grid; volumes are divided evenly.
        cuts: (layer, device): the tensor before this layer is stored whole on that device. A residual block can be cut
            in its middle only if it is also cut at its beginning.
    """

    size: int
    cuts: tuple[tuple[int, str], ...] = ()


def intervals(length: int, largest: int) -> tuple[Interval, ...]:
    """An axis of ``length`` in as few nearly equal pieces as can be, none longer than ``largest``."""
    count = -(-length // largest)
    return tuple(pairwise(length * n // count for n in range(count + 1)))


def passes(chain: Chain, tiles: Tiles) -> Iterator[tuple[int, int, bool]]:
    """The passes of a run, in order: from layer, to layer, and whether it only gathers the statistics of that layer.

    Raises:
        ValueError: a cut in the middle of a residual block without one at its beginning.
    """
    cuts = (0, *(layer for layer, _ in tiles.cuts), len(chain.layers))
    for first, last in pairwise(cuts):
        if first > 0 and chain.layers[first].shortcut is not None and first - 1 not in cuts[1:]:
            raise ValueError(f"A cut before layer {first} needs one before layer {first - 1}.")
        for k in range(first, last):
            if chain.layers[k].norm is not None and (k > first or first == 0):
                yield first, k, True
        yield first, last, False


@torch.inference_mode()
def run_tiles(
    chain: Chain,
    tiles: Tiles,
    shape: Sequence[int],
    read: Callable[[Box], Tensor],
    write: Callable[[Box, Tensor], None],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> ChainStatistics:
    """Run ``chain`` over a volume.

    Args:
        shape: of the volume, on the coarsest grid of the chain.
        read: input ``[1, C, ...]`` of a box of the chain's input, on the device and in the dtype to compute in.
        write: takes the output of a box of the chain's output; the boxes do not overlap and fill the volume.
        progress: called with (done, total) after each tile. check: called before each tile; raises to stop.

    Returns:
        What :func:`run_box` needs to compute a part of this volume again.
    """
    run = _Run(chain, tuple(shape), read)
    pieces: list[Tile] = list(product(*(intervals(length, tiles.size) for length in shape)))
    stages = list(passes(chain, tiles))
    places = dict(tiles.cuts)
    done = 0
    for first, last, only_statistics in stages:
        ends = last == len(chain.layers)
        statistics = None if ends or chain.layers[last].norm is None else Statistics(chain.layers[last].norm)
        target = None
        for piece in pieces:
            check()
            result = run.forward(first, last, piece)
            if statistics is not None:
                statistics.add(result)
            box = _box(piece, chain.scales[last])
            if ends:
                write(box, result)
            elif not only_statistics:
                target = run.target(first, last, places[last], result.dtype) if target is None else target
                target[(..., *box)] = result.to(target.device)
            done += 1
            progress(done, len(stages) * len(pieces))
        if statistics is not None:
            run.statistics[last] = statistics.of_channels()
        if target is not None:
            run.stored, run.carried = target, run.stored if chain.layers[first].opens and last == first + 1 else None
    return run.statistics


@torch.inference_mode()
def run_box(
    chain: Chain,
    size: int,
    shape: Sequence[int],
    box: Box,
    statistics: ChainStatistics,
    read: Callable[[Box], Tensor],
    write: Callable[[Box, Tensor], None],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run ``chain`` over a ``box`` of a volume of ``shape`` (both on the coarsest grid), with known statistics.

    Args:
        size: largest edge of a tile. statistics: of the whole volume, from :func:`run_tiles`; where the volume has
            changed a little since, the result differs as little. The others: as for :func:`run_tiles`.
    """
    run = _Run(chain, tuple(shape), read)
    run.statistics.update(statistics)
    axes = ([(s.start + a, s.start + b) for a, b in intervals(s.stop - s.start, size)] for s in box)
    pieces = list(product(*axes))
    for done, piece in enumerate(pieces):
        check()
        write(_box(piece, chain.scales[-1]), run.forward(0, len(chain.layers), piece))
        progress(done + 1, len(pieces))


class _Run:
    """What is known so far: statistics of norms, and the tensor (or two, within a residual block) of the last cut."""

    def __init__(self, chain: Chain, shape: Shape, read: Callable[[Box], Tensor]) -> None:
        self.chain, self.shape, self._read = chain, shape, read
        self.statistics: ChainStatistics = {}
        self.stored: Tensor | None = None
        self.carried: Tensor | None = None
        self._device: torch.device | None = None

    def forward(self, first: int, last: int, piece: Tile) -> Tensor:
        """The tensor before layer ``last`` in ``piece``, without halo."""
        chain = self.chain
        crop = [chain.crop(first, last, core, size) for core, size in zip(piece, self.shape, strict=True)]
        x, carried = self._load(tuple(slice(*ends) for ends in crop))
        for k in range(first, last):
            x, carried = chain.layers[k](x, carried, self.statistics.get(k))
        starts = [chain.place(first, last, start) for start, _ in crop]
        scale = chain.scales[last]
        core = (slice(a * scale - start, b * scale - start) for (a, b), start in zip(piece, starts, strict=True))
        return x[(..., *core)].contiguous(memory_format=torch.channels_last_3d)

    def _load(self, box: Box) -> tuple[Tensor, Tensor | None]:
        if self.stored is None:
            x = self._read(box)
            self._device = x.device
            return x, None
        x, carried = (None if t is None else self._fetch(t[(..., *box)]) for t in (self.stored, self.carried))
        return x, carried

    def _fetch(self, x: Tensor) -> Tensor:
        return x.to(self._device).contiguous(memory_format=torch.channels_last_3d)

    def target(self, first: int, last: int, device: str, dtype: torch.dtype) -> Tensor:
        """Where to store the tensor before ``last``: over the input of the residual block that ends there if it may."""
        chain = self.chain
        if self.carried is not None and last == first + 1 and self.carried.shape[1] == chain.channels[last]:
            return self.carried  # the block reads it voxel by voxel only
        shape = (1, chain.channels[last], *(n * chain.scales[last] for n in self.shape))
        return torch.empty(shape, dtype=dtype, device=device, memory_format=torch.channels_last_3d)


def _box(piece: Tile, scale: int) -> Box:
    return tuple(slice(a * scale, b * scale) for a, b in piece)
