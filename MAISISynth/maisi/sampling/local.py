"""Local re-synthesis: after an edit, only a window of the latents is sampled again.

Along the trajectory of the image before, the window's prediction under the new mask minus that under the old mask is
integrated; the result is added to the old latents. What the window cannot see (the rest of the body, the statistics of
group norms) is missing in both predictions and cancels out. Where the window's weight is 0 no latent changes at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from maisi.mask_embedding import embed_box
from maisi.models.weights import Networks
from maisi.options import Options
from maisi.sampling.conditions import Target
from maisi.sampling.guidance import Predictor, make_predictor
from maisi.sampling.sampler import Progress, check_cancelled
from maisi.sampling.schedule import flow_steps
from maisi.sampling.solvers import FLOW_SOLVERS
from maisi.sampling.trajectory import Trajectory, to_half, window
from maisi.volume import Box

RAMP = 2  # latents over which the weight of the window falls to 0 (measured: Testing/benchmarks/local_edit.py)
STRIDE = 4  # the networks halve the window twice


@dataclass(frozen=True)
class Region:
    """Where latents are sampled again: ``inner`` with full weight, ``box`` at all; ``shape`` is that of the whole."""

    inner: Box
    box: Box
    shape: tuple[int, int, int]

    @property
    def share(self) -> float:
        """Part of the whole volume that is computed."""
        return prod(s.stop - s.start for s in self.box) / prod(self.shape)


def region_of(inner: Box, shape: Sequence[int]) -> Region:
    """The region around the latents ``inner`` of a volume with ``shape`` latents."""
    box = []
    for core, size in zip(inner, shape, strict=True):
        start = max((core.start - RAMP) // STRIDE * STRIDE, 0)
        box.append(slice(start, min(-(-(core.stop + RAMP) // STRIDE) * STRIDE, size)))
    return Region(inner, tuple(box), tuple(shape))


@torch.inference_mode()
def sample_change(
    networks: Networks,
    region: Region,
    past: Trajectory,
    before: Target,
    after: Target,
    options: Options,
    progress: Progress,
    cancelled: Callable[[], bool],
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, list[Tensor]]:
    """How the latents of ``region.box`` change when the mask does.

    Args:
        past: of the image under the mask ``before``. before, after: on the whole model grid.
        progress: called with ("sample", step, steps) after each step. dtype: of the networks.

    Returns:
        What to add to the latents in ``region.box``, ``[1, 4, i, j, k]`` in the autoencoder's range, and the new
        trajectory there (for :class:`maisi.sampling.trajectory.Patched`).

    Raises:
        InputError: conditions that the model does not know. Cancelled: between steps.
    """

    def embed(masks: np.ndarray) -> Tensor:
        return embed_box(networks, masks, dtype, region.box)

    predictors = [make_predictor(networks, target, options, embed, dtype) for target in (before, after)]
    change = _Change(*predictors, past, region, networks.device)
    schedule = networks.variant.schedule
    count = options.steps or schedule.steps
    steps = flow_steps(count, prod(region.shape), schedule.time_scale, options.time_grid or schedule.grid)
    difference = torch.zeros_like(change.state(0, steps[0].time))
    solver = FLOW_SOLVERS[options.solver or schedule.solver]
    results = solver(change, difference, steps)
    for step in range(count):
        difference = next(results)
        progress("sample", step + 1, count)
        check_cancelled(cancelled)
    return difference / networks.scale_factor, change.trajectory


class _Change:
    """The prediction for the difference between the new and the old latents; what a solver integrates."""

    def __init__(
        self, before: Predictor, after: Predictor, past: Trajectory, region: Region, device: torch.device
    ) -> None:
        self._before, self._after, self._past, self._region, self._device = before, after, past, region, device
        self._weight = window(region.box, region.inner, region.shape).to(device)
        self.trajectory: list[Tensor] = []

    def state(self, call: int, time: float) -> Tensor:
        return self._past.states(call, time, self._region.box)[None].to(self._device)

    def __call__(self, difference: Tensor, time: float) -> Tensor:
        old = self.state(len(self.trajectory), time)
        new = old + difference
        self.trajectory.append(to_half(new))
        return self._weight * (self._after(new, time) - self._before(old, time))
