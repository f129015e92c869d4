"""What a job will need, told before it starts: model grid, memory, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from maisi.devices import free_memory_gb, resolve_device
from maisi.errors import OutOfMemoryError
from maisi.geometry import GridPlan, plan_grid
from maisi.models.variants import get_variant


@dataclass(frozen=True)
class Estimate:
    """Prediction for one synthesis.

    Attributes:
        plan: user's grid <-> model grid. device: resolved name.
        memory_gb: expected peak, free_gb: what the device has now. seconds: expected duration without loading.
    """

    plan: GridPlan
    device: str
    memory_gb: float
    free_gb: float
    seconds: float

    @property
    def model_shape(self) -> tuple[int, int, int]:
        """Voxels of the model grid."""
        return self.plan.model_shape

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the grid."""
        return self.plan.notices

    def check(self) -> None:
        """Refuse before anything starts.

        Raises:
            OutOfMemoryError: the job will not fit.
        """
        if self.memory_gb > self.free_gb:
            size = " x ".join(map(str, self.model_shape))
            raise OutOfMemoryError(
                f"A volume of {size} voxels needs about {self.memory_gb:.1f} GB, but {self.device} has only "
                f"{self.free_gb:.1f} GB free; crop the segmentation, use a coarser spacing, or choose another device."
            )


def estimate(
    shape: Sequence[int], affine: np.ndarray, model: str = "embedded", device: str = "auto", steps: int | None = None
) -> Estimate:
    """Memory and time of one synthesis on a user's grid.

    Args:
        shape, affine: of the label map, ``[I, J, K]`` and 4x4 RAS mm.

    Raises:
        InputError: unknown model or device, or a grid that cannot be used.
    """
    variant, target = get_variant(model), resolve_device(device)
    plan = plan_grid(shape, affine, variant.grid)
    voxels = float(np.prod(plan.model_shape))
    cost = variant.cost
    work = cost["embed_flop"] + cost["decode_flop"] + (steps or variant.schedule.steps) * cost["step_flop"]
    return Estimate(
        plan=plan,
        device=str(target),
        memory_gb=cost["fixed_gb"] + voxels * cost["bytes"] / 1024**3,
        free_gb=free_memory_gb(target),
        seconds=voxels * work / _throughput(str(target)),
    )


@cache
def _throughput(device: str) -> float:
    """Floating point operations per second of ``device`` in a convolution like those of the networks."""
    size, channels = 32, 32
    conv = torch.nn.Conv3d(channels, channels, 3, padding=1).to(device, memory_format=torch.channels_last_3d)
    x = torch.rand(1, channels, size, size, size, device=device).contiguous(memory_format=torch.channels_last_3d)
    seconds = []
    with torch.inference_mode():
        for _ in range(6):  # the first ones also warm up
            start = time.perf_counter()
            conv(x).sum().item()
            seconds.append(time.perf_counter() - start)
    # Norms, activations and copies take about as long again as the convolutions.
    return 0.5 * 2 * 27 * channels**2 * size**3 / min(seconds)
