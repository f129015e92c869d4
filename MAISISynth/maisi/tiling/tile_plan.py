"""Choosing tiles and cuts: the least work that fits into the memory of the device and of the host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod

from maisi.tiling.chain import Chain, Layer
from maisi.tiling.tiles import Tiles, intervals

TILE_SIZES = (128, 96, 64, 48, 32, 24, 16, 12, 8)  # voxels of the coarsest grid along an edge
TRANSFER_FLOP = 1e4  # work that takes as long as moving one byte between host and GPU: 10 GB/s at 100 TFLOP/s
HOST = "cpu"


@dataclass(frozen=True)
class TileCost:
    """Tiles and what they cost.

    Attributes:
        flop: operations, with halos, recomputation and the equivalent of transfers.
        device_bytes, host_bytes: peak of what the run holds there.
    """

    tiles: Tiles
    flop: float
    device_bytes: float
    host_bytes: float

    @property
    def rank(self) -> tuple[float, float]:
        """Lower is better: less work, then less memory."""
        return self.flop, self.device_bytes + self.host_bytes


def plan_tiles(
    chain: Chain,
    shape: Sequence[int],
    value_bytes: int,
    device: str,
    device_bytes: float,
    host_bytes: float = 0.0,
    sizes: Sequence[int] = TILE_SIZES,
) -> TileCost | None:
    """The cheapest way to run ``chain`` exactly in tiles within a budget, or None if there is none.

    Args:
        shape: of the volume on the coarsest grid. value_bytes: of a number in the dtype computed in.
        device: that computes. device_bytes, host_bytes: budgets; the second only counts where the device has memory
            of its own.
    """
    ways = (_Search(chain, tuple(shape), size, value_bytes, device, device_bytes, host_bytes).best() for size in sizes)
    return min((way for way in ways if way is not None), key=lambda way: way.rank, default=None)


@dataclass
class _Search:
    """Shortest path over the cuts for one tile size."""

    chain: Chain
    shape: tuple[int, int, int]
    size: int
    value_bytes: int
    device: str
    device_budget: float
    host_budget: float
    _best: dict = field(default_factory=dict)  # (places of the stored tensors by layer) -> TileCost up to that cut

    def best(self) -> TileCost | None:
        end = len(self.chain.layers)
        start = TileCost(Tiles(self.size), 0.0, 0.0, 0.0)
        frontier: dict[int, dict[tuple, TileCost]] = {k: {} for k in range(end + 1)}
        frontier[0][()] = start
        for first in range(end):
            for stored, cost in frontier[first].items():
                for last in self._ends(first, stored):
                    for place in ("",) if last == end else self._places():
                        self._extend(frontier, first, last, stored, place, cost)
        return min(frontier[end].values(), key=lambda cost: cost.rank, default=None)

    def _places(self) -> tuple[str, ...]:
        return (self.device,) if self.device == HOST else (self.device, HOST)

    def _ends(self, first: int, stored: tuple) -> Iterator[int]:
        """Layers before which the next cut may be: in the middle of a residual block only right after its first."""
        for last in range(first + 1, len(self.chain.layers) + 1):
            inside = last < len(self.chain.layers) and self.chain.layers[last].shortcut is not None
            if not inside or (last == first + 1 and first > 0):
                yield last

    def _extend(self, frontier: dict, first: int, last: int, stored: tuple, place: str, cost: TileCost) -> None:
        """Go from the cut ``first``, where the tensors ``stored`` lie, to the cut ``last``, kept at ``place``."""
        chain, held = self.chain, list(stored)
        if last < len(chain.layers):
            opened = stored[1] if len(stored) == 2 else None
            if opened is not None and last == first + 1 and chain.channels[last] == chain.channels[opened[0]]:
                place = opened[1]  # written over the input of the block
            else:
                held.append((last, place))
        use = {HOST: 0.0, self.device: 0.0}
        for layer, where in held:
            use[where] += self._tensor_bytes(layer)
        flop, peak = self._segment(first, last)
        use[self.device] += peak
        moved = sum(self._tensor_bytes(layer) for layer, where in held if where != self.device)
        total = TileCost(
            Tiles(self.size, (*cost.tiles.cuts, (last, place)) if last < len(chain.layers) else cost.tiles.cuts),
            cost.flop + flop + moved * TRANSFER_FLOP,
            max(cost.device_bytes, use[self.device]),
            max(cost.host_bytes, use[HOST] if self.device != HOST else 0.0),
        )
        if total.device_bytes > self.device_budget or total.host_bytes > self.host_budget:
            return
        inside = last < len(chain.layers) and chain.layers[last].shortcut is not None
        state = () if not place else ((last, place), stored[0]) if inside else ((last, place),)
        known = frontier[last].get(state)
        if known is None or total.rank < known.rank:
            frontier[last][state] = total

    def _tensor_bytes(self, layer: int) -> float:
        return self.chain.channels[layer] * prod(self.shape) * self.chain.scales[layer] ** 3 * self.value_bytes

    def _segment(self, first: int, last: int) -> tuple[float, float]:
        """Operations, and peak bytes of a tile, of all passes from the cut ``first`` to the cut ``last``."""
        norms = (k for k in range(first, last) if self.chain.layers[k].norm is not None and (k > first or first == 0))
        costs = [pass_cost(self.chain, self.shape, self.size, first, k, self.value_bytes) for k in (*norms, last)]
        return sum(flop for flop, _ in costs), max(peak for _, peak in costs)


@cache
def pass_cost(
    chain: Chain, shape: tuple[int, int, int], size: int, first: int, last: int, value_bytes: int
) -> tuple[float, float]:
    """Operations of one pass over all tiles from layer ``first`` to ``last``, and peak bytes of its largest tile."""
    crops = [[chain.crop(first, last, core, n) for core in intervals(n, size)] for n in shape]
    scales, channels, layers = chain.scales, chain.channels, chain.layers

    def lengths(k: int) -> list[list[int]]:
        return [[(b - a) * scales[k] // scales[first] for a, b in axis] for axis in crops]

    largest = {k: prod(max(axis) for axis in lengths(k)) * value_bytes for k in range(first, last + 1)}
    flop = sum(
        prod(sum(axis) for axis in lengths(k + 1)) * operations(layers[k], channels[k]) for k in range(first, last)
    )
    core = prod(max(b - a for a, b in intervals(n, size)) for n in shape) * scales[last] ** 3 * channels[last]
    peak = largest[last] * channels[last] + core * (value_bytes + 4)  # the statistics are taken in float32
    carried = 0.0
    for k in range(first, last):
        here, after = largest[k] * channels[k], largest[k + 1] * channels[k + 1]
        copies = 2 if layers[k].norm is not None else 1
        resampled = largest[k + 1] * channels[k] if layers[k].factor > 1 else here if layers[k].factor < 1 else 0.0
        shortcut = after if layers[k].shortcut is not None and channels[k - 1] != channels[k + 1] else 0.0
        if layers[k].shortcut is not None and k == first:
            carried = largest[k] * channels[k - 1]
        peak = max(peak, carried + copies * here + resampled + after + shortcut)
        carried = here if layers[k].opens else 0.0
    return flop, peak


def operations(layer: Layer, channels_in: int) -> float:
    """Operations of ``layer`` per voxel of its output."""
    convolutions = [layer.conv]
    if layer.shortcut is not None:
        convolutions += [m for m in layer.shortcut.modules() if hasattr(m, "kernel_size")]
    return sum(2.0 * prod(c.kernel_size) * c.in_channels * c.out_channels for c in convolutions)
