"""From noise to latents: puts schedule, solver, guidance and conditions together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maisi.errors import Cancelled, InputError
from maisi.models.networks import COMPRESSION, mask_bits
from maisi.models.variants import Variant
from maisi.models.weights import Networks
from maisi.options import Options
from maisi.sampling.conditions import Target
from maisi.sampling.guidance import Embed, make_predictor
from maisi.sampling.reference import reference_randomness
from maisi.sampling.schedule import TRAIN_STEPS, flow_steps
from maisi.sampling.solvers import DDPM_SOLVERS, FLOW_SOLVERS, Model, add_ddpm_noise, ddpm_times
from maisi.sampling.trajectory import to_half

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Start:
    """Where sampling begins.

    Attributes:
        noise: ``[4, i, j, k]`` (None: drawn from the seed).
        latents: ``[4, i, j, k]`` to begin from, in the autoencoder's range (None: from noise alone).
        strength: how far back towards noise ``latents`` are taken, 0 (not at all) to 1 (noise alone).
    """

    noise: np.ndarray | None = None
    latents: np.ndarray | None = None
    strength: float = 1.0

    def check(self, shape: tuple[int, int, int], channels: int) -> None:
        """Raise InputError unless this fits an image of ``shape`` whose latents have ``channels``."""
        wanted = _latent_shape(shape, channels)[1:]
        for name, array in (("noise", self.noise), ("latents", self.latents)):
            if array is not None and (array.shape != wanted or not np.isfinite(array).all()):
                raise InputError(f"The {name} must be finite and of shape {wanted} for this grid, got {array.shape}.")
        if not 0 <= self.strength <= 1:
            raise InputError(f"The strength must be from 0 to 1, got {self.strength}.")
        if self.strength < 1 and self.latents is None:
            raise InputError("A strength below 1 needs latents to begin from.")


def initial_noise(seed: int, shape: tuple[int, int, int], channels: int) -> Tensor:
    """Standard normal latents ``[1, channels, I/4, J/4, K/4]`` for an image of ``shape``; the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(_latent_shape(shape, channels), generator=generator)


def check_cancelled(cancelled: Callable[[], bool]) -> None:
    """Raise :class:`Cancelled` if the user asked to stop."""
    if cancelled():
        raise Cancelled("The synthesis was cancelled; nothing was changed.")


def check_fit(variant: Variant, options: Options) -> None:
    """Raise InputError unless ``variant`` has the solver and the modality that ``options`` ask for."""
    variant.modality_code(options.modality)
    known = FLOW_SOLVERS if variant.schedule.kind == "rectified_flow" else DDPM_SOLVERS
    if options.solver not in (None, *known):
        raise InputError(
            f"The solver {options.solver!r} does not fit the model {variant.name}; use one of: {', '.join(known)}."
        )


@torch.inference_mode()
def sample_latents(
    networks: Networks,
    target: Target,
    options: Options,
    embed: Embed,
    progress: Progress,
    cancelled: Callable[[], bool],
    start: Start = Start(),
    dtype: torch.dtype = torch.float32,
    record: list[Tensor] | None = None,
) -> Tensor:
    """Latents of an image of ``target``.

    Args:
        embed: makes the mask embedding of a label array. dtype: of the networks.
        progress: called with ("sample", step, steps) after each step.
        record: is filled with the latents before each network call, for :class:`maisi.sampling.trajectory.Recorded`.

    Returns:
        ``[1, 4, i, j, k]`` on the networks' device, in the autoencoder's range.

    Raises:
        InputError: options, conditions or start that cannot be used. Cancelled: between steps.
    """
    device, variant = networks.device, networks.variant
    start.check(target.shape, variant.latent_channels)
    check_fit(variant, options)
    with ExitStack() as stack:
        if options.compatible:
            stack.enter_context(reference_randomness(options.seed, variant.networks))
            if device.type == "cuda":
                stack.enter_context(torch.autocast("cuda", dtype=torch.float16))
        noise = _noise(start, target, options, variant.latent_channels, device)
        predict = make_predictor(networks, target, options, embed, dtype)
        if record is not None:
            predict = _recording(predict, record)
        clean = None
        if start.latents is not None:
            clean = torch.from_numpy(start.latents)[None].to(noise) * networks.scale_factor
        steps, results = _solve(predict, noise, clean, start.strength, variant, options)
        for step in range(steps):
            latents = next(results)
            progress("sample", step + 1, steps)
            check_cancelled(cancelled)
    return latents / networks.scale_factor


def _recording(predict: Model, record: list[Tensor]) -> Model:
    def recorded(x: Tensor, time: float) -> Tensor:
        record.append(to_half(x))
        return predict(x, time)

    return recorded


def _noise(start: Start, target: Target, options: Options, channels: int, device: torch.device) -> Tensor:
    if start.noise is not None:
        return torch.from_numpy(start.noise)[None].float().to(device)
    if not options.compatible:
        return initial_noise(options.seed, target.shape, channels).to(device)
    if target.labels is None:  # drawn on the device
        return torch.randn(_latent_shape(target.shape, channels), device=device)
    noise = torch.randn(_latent_shape(target.shape, channels)).half().to(device)
    return noise if device.type == "cuda" else noise.float()


def _latent_shape(shape: tuple[int, int, int], channels: int) -> tuple[int, ...]:
    return (1, channels, *(n // COMPRESSION for n in shape))


# ---- the mask and the solvers


def mask_embedding(networks: Networks, labels: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Embeddings ``[B, C, i, j, k]`` of label arrays ``[B, 4i, 4j, 4k]`` on the networks' device."""
    masks = torch.from_numpy(np.ascontiguousarray(labels))[:, None].to(networks.device)
    return networks.controlnet.embed_mask(mask_bits(masks, dtype))


def _solve(
    predict: Model, noise: Tensor, clean: Tensor | None, strength: float, variant: Variant, options: Options
) -> tuple[int, Iterator[Tensor]]:
    """The number of steps, and the latents after each. Steps earlier than ``strength`` are left out."""
    schedule, latest = variant.schedule, strength * TRAIN_STEPS
    solver, steps = options.solver or schedule.solver, options.steps or schedule.steps
    if schedule.kind == "rectified_flow":
        plan = flow_steps(steps, noise[0, 0].numel(), schedule.time_scale, options.time_grid or schedule.grid)
        plan = [step for step in plan if step.time <= latest + 1e-6]  # the first may be 1000.0000000000001
        x = _mixed(clean, noise, plan[0].time / TRAIN_STEPS) if clean is not None and plan else noise
        results = FLOW_SOLVERS[solver](predict, x, plan)
    else:
        plan = [time for time in ddpm_times(steps) if time < latest]
        x = add_ddpm_noise(clean, noise, plan[0]) if clean is not None and plan else noise
        generator = None if options.compatible else torch.Generator(noise.device).manual_seed(options.seed + 1)
        extra = (generator,) if solver == "ddpm" else ()
        results = DDPM_SOLVERS[solver](predict, x, plan, *extra)
    return (len(plan), results) if plan else (1, iter([clean]))


def _mixed(clean: Tensor, noise: Tensor, t: float) -> Tensor:
    """The point of the straight way from data (t = 0) to noise (t = 1)."""
    return (1 - t) * clean + t * noise
