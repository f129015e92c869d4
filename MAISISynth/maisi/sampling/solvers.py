"""Solvers: from noise to data along the network's predictions.

Each is a generator that yields the latents after every step, so that the caller can show progress and stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from maisi.sampling.schedule import TRAIN_STEPS, FlowStep

Model = Callable[[Tensor, float], Tensor]  # (latents [B, 4, i, j, k], time) -> velocity, or noise for DDPM models


def euler(model: Model, x: Tensor, steps: Sequence[FlowStep]) -> Iterator[Tensor]:
    """First order, one network call a step (the reference's solver)."""
    for step in steps:
        x = x + model(x, step.time) * step.length
        yield x


def adams_bashforth(model: Model, x: Tensor, steps: Sequence[FlowStep]) -> Iterator[Tensor]:
    """Second order, one network call a step: extrapolates from the velocity of the step before, for unequal steps."""
    previous, before = None, 0.0
    for step in steps:
        velocity = model(x, step.time)
        slope = 0.0 if previous is None else (velocity - previous) * (step.length / (2 * before))
        x = x + (velocity + slope) * step.length
        previous, before = velocity, step.length
        yield x


def heun(model: Model, x: Tensor, steps: Sequence[FlowStep]) -> Iterator[Tensor]:
    """Second order, two network calls a step: the mean of the velocities at both ends; the last step is Euler's."""
    for step in steps:
        velocity = model(x, step.time)
        if step.following > 0:
            end = model(x + velocity * step.length, step.following)
            velocity = (velocity + end) / 2
        x = x + velocity * step.length
        yield x


def ddpm(model: Model, x: Tensor, times: Sequence[int], generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Ancestral sampling of a DDPM model (Ho et al. 2020). Only all 1000 times give good images.

    Args:
        generator: of the noise that each step adds, on the device of ``x``; None = torch's global one.
    """
    scheduler = ddpm_scheduler()
    for time in times:
        x, _ = scheduler.step(model(x, float(time)), time, x, generator=generator)
        yield x


def ddim(model: Model, x: Tensor, times: Sequence[int]) -> Iterator[Tensor]:
    """Deterministic sampling of a DDPM model at any times (Song et al. 2021, equation 12 with sigma 0)."""
    kept = ddpm_scheduler().alphas_cumprod.tolist()  # share of the data in the variance at each time
    for time, following in zip(times, [*times[1:], None], strict=True):
        now, then = kept[time], 1.0 if following is None else kept[following]
        noise = model(x, float(time))
        clean = (x - (1 - now) ** 0.5 * noise) / now**0.5
        x = then**0.5 * clean + (1 - then) ** 0.5 * noise
        yield x


def ddpm_times(steps: int) -> list[int]:
    """``steps`` times of a DDPM model, from 999 (noise) to 0, evenly spread."""
    scheduler = ddpm_scheduler()
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


def add_ddpm_noise(clean: Tensor, noise: Tensor, time: int) -> Tensor:
    """``clean`` latents as they are at ``time``."""
    return ddpm_scheduler().add_noise(clean, noise, torch.tensor([time]))


def ddpm_scheduler() -> DDPMScheduler:
    """MONAI's scheduler with the constants of the released weights (FACTS 1.7)."""
    return DDPMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        schedule="scaled_linear_beta",
        beta_start=0.0015,
        beta_end=0.0195,
        clip_sample=False,
    )


DDPM_SOLVERS = {"ddpm": ddpm, "ddim": ddim}
FLOW_SOLVERS = {"euler": euler, "adams-bashforth": adams_bashforth, "heun": heun}
