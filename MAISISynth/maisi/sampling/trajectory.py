"""The way an image came from noise: what local re-synthesis goes along (latents before each network call)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from maisi.sampling.schedule import TRAIN_STEPS
from maisi.volume import Box


class Trajectory(Protocol):
    """Latents ``[4, i, j, k]`` (scaled, as the networks see them) at each network call of a run."""

    def states(self, call: int, time: float, box: Box) -> Tensor:
        """Float32 latents ``[4, ...]`` in ``box`` before network call ``call``, which is at ``time``."""

    @property
    def nbytes(self) -> int:
        """Memory that this trajectory holds by itself."""


@dataclass(frozen=True)
class Recorded:
    """What a run went through. ``calls``: float16 ``[4, i, j, k]`` on the host, one for each network call."""

    calls: Sequence[Tensor]

    def states(self, call: int, time: float, box: Box) -> Tensor:
        return self.calls[call][(slice(None), *box)].float()

    @property
    def nbytes(self) -> int:
        return sum(state.nbytes for state in self.calls)


@dataclass(frozen=True)
class Patched:
    """A trajectory that differs from ``base`` in ``box`` only: the run before it was edited there."""

    base: Trajectory
    box: Box
    calls: Sequence[Tensor]

    def states(self, call: int, time: float, box: Box) -> Tensor:
        states = self.base.states(call, time, box)
        low = [max(a.start, b.start) for a, b in zip(box, self.box, strict=True)]
        high = [min(a.stop, b.stop) for a, b in zip(box, self.box, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            there, here = (
                tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, place, strict=True))
                for place in (box, self.box)
            )
            states[(slice(None), *there)] = self.calls[call][(slice(None), *here)].float()
        return states

    @property
    def nbytes(self) -> int:
        return sum(state.nbytes for state in self.calls)


@dataclass(frozen=True)
class Straight:
    """The straight way between the encoded image and noise: for images whose run is not known, real ones among them.

    Following the difference of two velocities along it is FlowEdit (Kulikov et al. 2024, arXiv 2412.08629).

    Attributes:
        clean, noise: ``[4, ...]`` float32 in ``place``, which is told in latents of the whole grid.
    """

    clean: Tensor
    noise: Tensor
    place: Box

    def states(self, call: int, time: float, box: Box) -> Tensor:
        here = tuple(slice(s.start - p.start, s.stop - p.start) for s, p in zip(box, self.place, strict=True))
        t = time / TRAIN_STEPS
        return ((1 - t) * self.clean + t * self.noise)[(slice(None), *here)]

    @property
    def nbytes(self) -> int:
        return self.clean.nbytes + self.noise.nbytes


def to_half(latents: Tensor) -> Tensor:
    """Latents ``[1, 4, ...]`` of a network call as :class:`Recorded` keeps them."""
    return latents[0].half().cpu()


def window(box: Box, inner: Box, shape: Sequence[int]) -> Tensor:
    """``[i, j, k]`` weights on ``box``: 1 in ``inner``, falling smoothly to 0 at the faces of ``box``.

    Faces of ``box`` that are faces of the whole volume of ``shape`` have weight 1 up to the end.
    """
    weight = np.ones(())
    for outer, core, size in zip(box, inner, shape, strict=True):
        at = np.arange(outer.start, outer.stop)
        left = np.ones(len(at)) if outer.start == 0 else (at - outer.start) / (core.start - outer.start)
        right = np.ones(len(at)) if outer.stop == size else (outer.stop - 1 - at) / (outer.stop - core.stop)
        ramp = np.minimum(left, right).clip(0, 1)
        weight = weight[..., None] * (ramp * ramp * (3 - 2 * ramp))
    return torch.from_numpy(weight.astype(np.float32))
