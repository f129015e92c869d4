"""How a job will be done, decided before it starts: model grid, precision, tiles, memory, time.

Memory is what :mod:`maisi.costs` counts, times a margin that was measured on CPUs; on GPUs it is derived, not measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod

import numpy as np
import torch

from maisi.costs import StageCosts, as_key, stage_costs
from maisi.devices import computes_in, free_memory_gb, resolve_device
from maisi.errors import InputError, OutOfMemoryError
from maisi.geometry import GridPlan, plan_grid
from maisi.metering import Cost
from maisi.models.fast import accelerate
from maisi.models.networks import COMPRESSION
from maisi.models.variants import Schedule, Variant, get_variant
from maisi.options import Options
from maisi.tiling.tile_plan import HOST, TILE_SIZES
from maisi.tiling.tiles import Tiles

GB = 1024**3
MARGIN = {"cpu": 1.15, "mps": 1.3, "cuda": 1.3}  # of what is counted: fragmentation and the kernels' own workspaces
FIXED_GB = {"cpu": 0.5, "mps": 0.5, "cuda": 0.5}
HOST_BYTES = 24  # per image voxel: labels and images on both grids, and resampling between them
SHRINK = 0.7  # of the memory that a way which ran out had counted on
TRANSFER = 10e9  # bytes per second between host and GPU
# On CPUs tiles of this size are about as fast as the whole, since they fit the caches; they need less memory, and a job
# can be stopped between them.
CPU_TILE = 16


@dataclass(frozen=True)
class Plan:
    """How one job will be done.

    Attributes:
        grid: user's grid <-> model grid. device: resolved name. precision: "float32", "float16" or "bfloat16".
        embedding, decoding: tiles, or None for the whole at once (compatible jobs decode in the reference's windows).
        offload: networks leave the device while they have nothing to do.
        memory_gb: expected peak on the device, host_gb: on the host if that is another memory.
        free_gb, host_free_gb: what there is now. seconds: expected duration without loading.
        remarks: what was changed after memory ran out.
    """

    grid: GridPlan
    device: str
    precision: str
    embedding: Tiles | None
    decoding: Tiles | None
    offload: bool
    memory_gb: float
    host_gb: float
    free_gb: float
    host_free_gb: float
    seconds: float
    options: Options = field(repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def model_shape(self) -> tuple[int, int, int]:
        """Voxels of the model grid."""
        return self.grid.model_shape

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the grid and about retries."""
        return (*self.grid.notices, *self.remarks)

    @property
    def dtype(self) -> torch.dtype:
        """``precision`` for torch."""
        return getattr(torch, self.precision)

    def check(self) -> None:
        """Refuse before anything starts.

        Raises:
            OutOfMemoryError: not even the smallest way fits.
        """
        size = " x ".join(map(str, self.model_shape))
        for needed, free, where in (
            (self.memory_gb, self.free_gb, self.device),
            (self.host_gb, self.host_free_gb, "this computer"),
        ):
            if needed > free:
                raise OutOfMemoryError(
                    f"A volume of {size} voxels needs about {needed:.1f} GB, but {where} has only {free:.1f} GB free; "
                    "crop the segmentation, use a coarser spacing, or choose another device."
                )

    def smaller(self) -> Plan | None:
        """The next smaller way after memory ran out, with a remark on what was changed; None: there is none."""
        fixed = FIXED_GB[self.device.partition(":")[0]]
        budget = fixed + SHRINK * (min(self.memory_gb, self.free_gb) - fixed)
        way = _fastest(self.grid, self.options, self.device, budget, self.host_free_gb)
        if way.memory_gb > 0.9 * self.memory_gb or way.host_gb > way.host_free_gb:
            return None
        remark = f"The memory of {self.device} ran out; it was done again with {_changes(self, way)}."
        return replace(way, free_gb=budget, remarks=(*self.remarks, remark))


def plan(shape: Sequence[int], affine: np.ndarray, options: Options) -> Plan:
    """The fastest way to do a job that fits into the free memory; if none does, the smallest, which ``check`` refuses.

    Args:
        shape, affine: of the user's grid, ``[I, J, K]`` and 4x4 RAS mm.

    Raises:
        InputError: unknown model or device, a grid that cannot be used, or a precision that the device does not have.
    """
    return plan_on(plan_grid(shape, affine, get_variant(options.model).grid), options)


def plan_on(grid: GridPlan, options: Options) -> Plan:
    """The same for a model grid that is already chosen, or a part of one."""
    device = resolve_device(options.device)
    return _fastest(grid, options, str(device), free_memory_gb(device), free_memory_gb(torch.device(HOST)))


def _fastest(grid: GridPlan, options: Options, device: str, free_gb: float, host_free_gb: float) -> Plan:
    smallest = None
    for precision in _precisions(torch.device(device), options):
        job = _Job(grid, options, device, precision, free_gb, host_free_gb)
        ways = [job.way(offload) for offload in ((False, True) if job.kind == "cuda" else (False,))]
        fitting = [way for way in ways if way.memory_gb <= free_gb and way.host_gb <= host_free_gb]
        if fitting:
            return min(fitting, key=lambda way: way.seconds)
        smallest = min([*ways, *([smallest] if smallest else [])], key=lambda way: way.memory_gb)
    return smallest


def _precisions(device: torch.device, options: Options) -> list[str]:
    """Those to try, best first: the one asked for; by default float16 on CUDA, elsewhere float32 while it fits."""
    if options.compatible:
        if options.precision != "auto":
            raise InputError("Compatible images have the reference's own precision; leave the precision at auto.")
        return ["float32"]
    if options.precision != "auto":
        if not computes_in(device, getattr(torch, options.precision)):
            raise InputError(f"{device} does not compute in {options.precision}; choose float32, or leave it at auto.")
        return [options.precision]
    if device.type == "cuda":
        return ["float16"]
    return [name for name in ("float32", "float16", "bfloat16") if computes_in(device, getattr(torch, name))]


@dataclass(frozen=True)
class _Job:
    """One job in one precision within a budget."""

    grid: GridPlan
    options: Options
    device: str
    precision: str
    free_gb: float
    host_free_gb: float

    @property
    def kind(self) -> str:
        return self.device.partition(":")[0]

    @property
    def variant(self) -> Variant:
        return get_variant(self.options.model)

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(n // COMPRESSION for n in self.grid.model_shape)

    @property
    def costs(self) -> StageCosts:
        dtype = getattr(torch, self.precision)
        return stage_costs(as_key(self.variant.networks), self.shape, dtype, self.options.compatible)

    @property
    def host_bytes(self) -> float:
        return HOST_BYTES * float(max(prod(self.grid.model_shape), prod(self.grid.user_shape)))

    def way(self, offload: bool) -> Plan:
        """The fastest way that fits, or else the one with about the least memory."""
        costs, options = self.costs, self.options
        sampling, decoding = ("unet", "controlnet"), ("autoencoder",)
        resident = [costs.weight_bytes(*(roles if offload else sampling + decoding)) for roles in (sampling, decoding)]
        own = self.host_bytes if self.kind != "cuda" else 0.0  # arrays that share the memory
        budgets = [self._budget(self.free_gb) - weights - own for weights in resident]
        host_budget = max(self.host_free_gb * GB - self.host_bytes, 0.0) if self.kind == "cuda" else 0.0

        branches, calls = self._calls()
        batch = branches if options.compatible else 1
        peaks, flop, embedding = [batch * costs.step.bytes], calls * costs.step.flop, None
        if "controlnet" in costs.networks:
            embedding, cost = self._embedding(budgets[0])
            peaks = [peaks[0] + branches * costs.embedding_bytes, batch * cost.bytes]
            flop += branches * cost.flop
        tiles, decode_flop, decode_bytes, stored_on_host = self._decoding(budgets[1], host_budget)

        device_bytes = own + max(resident[0] + max(peaks), resident[1] + decode_bytes)
        moved = 2 * (costs.weight_bytes(*sampling) + costs.weight_bytes(*decoding)) if offload else 0.0
        return Plan(
            grid=self.grid,
            device=self.device,
            precision=self.precision,
            embedding=embedding,
            decoding=tiles,
            offload=offload,
            memory_gb=device_bytes * MARGIN[self.kind] / GB + FIXED_GB[self.kind],
            host_gb=(self.host_bytes + stored_on_host + moved / 2) / GB if self.kind == "cuda" else 0.0,
            free_gb=self.free_gb,
            host_free_gb=self.host_free_gb,
            seconds=(flop + decode_flop) / _throughput(self.device, self.precision) + moved / TRANSFER,
            options=options,
        )

    def _budget(self, gigabytes: float) -> float:
        """Bytes that may be counted on so that the margin still fits."""
        return max(gigabytes - FIXED_GB[self.kind], 0.0) * GB / MARGIN[self.kind]

    def _calls(self) -> tuple[int, int]:
        """Sets of conditions (two with guidance), and evaluations of the networks."""
        options = self.options
        guidance = self.variant.guidance if options.guidance is None else options.guidance
        branches = 2 if guidance else 1
        return branches, branches * network_calls(options, self.variant.schedule)

    def _embedding(self, budget: float) -> tuple[Tiles | None, Cost]:
        whole = self.costs.embed(None)
        if self.options.compatible or whole.bytes <= budget:
            return None, whole
        tiles = self.costs.embedding_tiles(budget)
        return tiles, self.costs.embed(tiles)

    def _decoding(self, budget: float, host_budget: float) -> tuple[Tiles | None, float, float, float]:
        """Tiles, operations, bytes on the device, bytes on the host."""
        costs = self.costs
        if self.options.compatible:
            return None, costs.decode_windows.flop, costs.decode_windows.bytes, 0.0
        if self.kind != "cpu" and costs.decode.bytes <= budget:
            return None, costs.decode.flop, costs.decode.bytes, 0.0
        sizes = tuple(size for size in TILE_SIZES if self.kind != "cpu" or size <= CPU_TILE)
        best = costs.decode_tiles(self.device, budget, host_budget, sizes)
        best = best or costs.smallest_tiles(self.device, budget, host_budget)
        return best.tiles, best.flop, best.device_bytes, best.host_bytes


def network_calls(options: Options, schedule: Schedule) -> int:
    """How often the networks are called for one set of conditions (of Heun's last step one call too many)."""
    per_step = 2 if (options.solver or schedule.solver) == "heun" else 1
    return per_step * (options.steps or schedule.steps)


def _changes(before: Plan, after: Plan) -> str:
    """What ``after`` does in another way than ``before``."""
    changes = []
    if after.precision != before.precision:
        changes.append(after.precision)
    if after.offload and not before.offload:
        changes.append("networks taken from the device while they have nothing to do")
    for name in ("embedding", "decoding"):
        old, new = getattr(before, name), getattr(after, name)
        if new is not None and (old is None or new.size != old.size):
            changes.append(f"{name} in tiles of {new.size * COMPRESSION} voxels")
        elif new != old:
            changes.append(f"{name} with other stored tensors")
    return ", ".join(changes) or "less memory"


@cache
def _throughput(device: str, precision: str) -> float:
    """Floating point operations per second of ``device`` in a convolution like those of the networks."""
    dtype = getattr(torch, precision)
    size, channels = (64, 64) if device.startswith("cuda") else (32, 32)
    conv = accelerate(torch.nn.Sequential(torch.nn.Conv3d(channels, channels, 3, padding=1)).to(device), dtype)
    x = torch.rand(1, channels, size, size, size, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    seconds = []
    with torch.inference_mode():
        for _ in range(10):  # the first ones also warm up; others may be working on this computer too
            start = time.perf_counter()
            conv(x).sum().item()
            seconds.append(time.perf_counter() - start)
    # Norms, activations and copies take about as long again as the convolutions.
    return 0.5 * 2 * 27 * channels**2 * size**3 / min(seconds)
