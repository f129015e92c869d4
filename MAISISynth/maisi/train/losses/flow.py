"""What a diffusion network learns: rectified flow or DDPM, on the clock of ``maisi.sampling`` (1000 = noise, 0 = data).

The paper writes its equations on the opposite clock (FACTS 5.6); here x_t = (1 - t) data + t noise, as in its code.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from maisi.sampling.schedule import TRAIN_STEPS, stretched_times
from maisi.sampling.solvers import ddpm_scheduler


class NoiseProcess(Protocol):
    """From data to noise. Latents are ``[B, C, i, j, k]``, times float ``[B]`` 0-1000 as the networks take them."""

    def times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """A random time for each of ``latents``, on their device; ``generator`` is one of the CPU."""
        ...

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """``clean`` latents as they are at ``times``."""
        ...

    def target(self, clean: Tensor, noise: Tensor) -> Tensor:
        """What the network should predict."""
        ...


class RectifiedFlow:
    """Straight ways; the network predicts the velocity, data - noise.

    Args:
        time_scale: of the transform that sampling uses, too ("volume": by the latents' size, FACTS 1.7); None: uniform.
    """

    def __init__(self, time_scale: float | str | None = "volume") -> None:
        self._time_scale = 1.0 if time_scale is None else time_scale

    def times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(len(latents), generator=generator)
        return stretched_times(u, latents[0, 0].numel(), self._time_scale).to(latents.device)

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        t = (times / TRAIN_STEPS).view(-1, *[1] * (clean.ndim - 1))
        return (1 - t) * clean + t * noise

    def target(self, clean: Tensor, noise: Tensor) -> Tensor:
        return clean - noise


class Ddpm:
    """The 1000 steps of MAISI-v1 (FACTS 1.7); the network predicts the noise."""

    def __init__(self) -> None:
        self._scheduler = ddpm_scheduler()

    def times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randint(TRAIN_STEPS, (len(latents),), generator=generator).float().to(latents.device)

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return self._scheduler.add_noise(clean, noise, times.long())

    def target(self, clean: Tensor, noise: Tensor) -> Tensor:
        return noise


def noise_process(kind: str, time_scale: float | str | None = "volume") -> NoiseProcess:
    """The process of a model whose schedule is of ``kind`` "rectified_flow" or "ddpm"."""
    return RectifiedFlow(time_scale) if kind == "rectified_flow" else Ddpm()


def prediction_loss(
    prediction: Tensor, target: Tensor, norm: str = "squared", weight: Tensor | None = None, normalized: bool = False
) -> Tensor:
    """Mean error over all elements, in float32.

    Args:
        prediction, target: of one shape. norm: "squared" (paper, equation 3) or "absolute" (released code).
        weight: broadcasts to them. normalized: divide by the mean weight (paper and code do not).
    """
    error = prediction.float() - target.float()
    error = error.square() if norm == "squared" else error.abs()
    if weight is None:
        return error.mean()
    loss = (error * weight).mean()
    return loss / weight.mean() if normalized else loss
