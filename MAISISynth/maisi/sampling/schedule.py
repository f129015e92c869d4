"""The times of rectified flow: 1000 = noise, 0 = data (FACTS 1.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

TRAIN_STEPS = 1000
_BASE_LATENT_VOXELS = 32**3
_Times = TypeVar("_Times", np.ndarray, "Tensor")


class FlowStep(NamedTuple):
    """One step of a solver: from ``time`` to ``following``, moving by ``length`` (1 = the whole way) of velocity."""

    time: float
    following: float
    length: float


def rectified_flow_times(steps: int, latent_voxels: int, time_scale: float | str = "volume") -> list[float]:
    """``steps + 1`` times from 1000 down to 0, denser near noise the larger the volume.

    Args:
        steps: of the solver.
        latent_voxels: of the volume to be made; sets the transform when ``time_scale`` is "volume".
        time_scale: ratio of the transform u' = r u / (1 + (r - 1) u), or "volume" for r = (voxels / 32^3)^(1/3).
    """
    return [float(t) for t in stretched_times(1 - np.arange(steps + 1) / steps, latent_voxels, time_scale)]


def stretched_times(u: _Times, latent_voxels: int, time_scale: float | str = "volume") -> _Times:
    """Evenly spread ``u`` in 0...1 -> times 0...1000, denser near noise; in training as in sampling (FACTS 1.7)."""
    ratio = (latent_voxels / _BASE_LATENT_VOXELS) ** (1 / 3) if time_scale == "volume" else float(time_scale)
    return TRAIN_STEPS * ratio * u / (1 + (ratio - 1) * u)


def flow_steps(
    steps: int, latent_voxels: int, time_scale: float | str = "volume", grid: str = "reference"
) -> list[FlowStep]:
    """The steps of the "clean" grid, whose lengths sum to 1, or of the "reference" grid.

    The reference stores times in half precision and cuts the time that a step leads to down to a whole number, so its
    lengths sum to about 1.009. NVIDIA's weights were evaluated with that.
    """
    times = rectified_flow_times(steps, latent_voxels, time_scale)
    ends = times[1:]
    if grid == "reference":
        times = [float(np.float16(t)) for t in times]
        ends = [float(int(t)) for t in times[1:]]
    pairs = zip(times[:-1], times[1:], ends, strict=True)
    return [FlowStep(now, following, (now - end) / TRAIN_STEPS) for now, following, end in pairs]
