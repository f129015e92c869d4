"""The exponential moving average of trained weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Averages:
    """Averages of the trainable weights of some networks; frozen weights need none.

    The first steps count more, ``min(decay, (1 + step) / (10 + step))``, so that the beginning is soon forgotten.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        """``networks`` by role; with ``decay`` 0 nothing is kept, and the weights themselves count."""
        named = ((f"{role}.{name}", p) for role, net in networks.items() for name, p in net.named_parameters())
        self._weights = {name: p for name, p in named if p.requires_grad} if decay else {}
        self._means = {name: p.detach().clone() for name, p in self._weights.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after ``step`` optimizer steps into account."""
        if self._means:
            decay = min(self._decay, (1 + step) / (10 + step))
            weights = [p.detach() for p in self._weights.values()]
            torch._foreach_lerp_(list(self._means.values()), weights, 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The networks have the averaged weights inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by ``ROLE.NAME``."""
        return self._means

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put averages back; weights that had none (another decay before) begin with their present value."""
        for name, mean in self._means.items():
            mean.copy_(state.get(name, self._weights[name].detach()))

    @torch.no_grad()
    def _swap(self) -> None:
        for name, mean in self._means.items():
            weight = self._weights[name]
            kept = weight.clone()
            weight.copy_(mean)
            mean.copy_(kept)
