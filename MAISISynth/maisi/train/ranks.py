"""The processes of a training, and what they tell each other besides gradients."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from maisi.errors import InputError

_MEETING = timedelta(minutes=5)  # for the first process to the last, after which torchrun starts all again
_WORK = timedelta(hours=1)  # the same for a checkpoint, a preview or a larger image of another process


@dataclass(frozen=True)
class Ranks:
    """This process among the others.

    Attributes:
        rank: number of this process, 0 is the one that writes. world: how many there are. device: of this one.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def to_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``batch`` with its tensors on the device."""
        return {k: v.to(self.device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes, the same on each."""
        if self.world == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(summed)
        return summed.tolist()

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, the same list on each."""
        if self.world == 1:
            return [value]
        values = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """``value`` of process 0."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]


@contextlib.contextmanager
def join_ranks(device: str = "auto") -> Iterator[Ranks]:
    """Meet the other processes that torchrun started; alone without torchrun.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: no CUDA device where one is asked for.
    """
    rank, world, local = (int(os.environ.get(key, default)) for key, default in _ENVIRONMENT)
    chosen = _device(device, local)
    if "RANK" not in os.environ:
        yield Ranks(0, 1, chosen)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", timeout=_MEETING)
    dist.distributed_c10d._set_pg_timeout(_WORK)
    try:
        yield Ranks(rank, world, chosen)
    finally:
        dist.destroy_process_group()


_ENVIRONMENT = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def _device(name: str, local: int) -> torch.device:
    count = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if local >= count:
        raise InputError(
            f"There are {count} CUDA devices for process {local + 1} of this machine; start fewer (--nproc) or set "
            "run.device=cpu."
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
