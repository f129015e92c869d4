"""What a network call costs, without running it: operations and peak memory counted on tensors that have no data."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """Floating point operations, and the largest number of bytes that tensors made on the way held at one time."""

    flop: float
    bytes: float


def meter(call: Callable[[], object]) -> Cost:
    """The cost of ``call``, whose tensors and modules are on the device "meta"; their own bytes do not count.

    Attention counts as a fused kernel does, which never holds the matrix of scores.
    """
    attention, counter, memory = _FusedAttention(), FlopCounterMode(display=False), _LiveBytes()
    with torch.no_grad(), attention, counter, memory:
        call()
    return Cost(float(counter.get_total_flops() + attention.flop), float(memory.peak))


class _FusedAttention(TorchFunctionMode):
    """Stands in for ``scaled_dot_product_attention``, which is taken apart on the device "meta"."""

    flop = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key = (args[n] if len(args) > n else kwargs[name] for n, name in enumerate(("query", "key")))
        self.flop += 4 * query.numel() * key.shape[-2]
        return torch.empty_like(query)


class _LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._known: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given:
                self._follow(tensor.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self._live -= size
