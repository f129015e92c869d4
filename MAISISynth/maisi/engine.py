"""One image on the model grid: load what is needed, sample, decode; again in a smaller way where memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maisi.decoding import decode
from maisi.devices import resolve_device
from maisi.errors import OutOfMemoryError
from maisi.mask_embedding import embed_in_tiles
from maisi.models.fast import accelerate, compile_network
from maisi.models.networks import COMPRESSION
from maisi.models.variants import get_variant
from maisi.models.weights import ROLES, Networks, load_networks
from maisi.options import Options
from maisi.planning import Plan, network_calls
from maisi.runs import RUNS, Run
from maisi.sampling.conditions import Target
from maisi.sampling.reference import as_reference
from maisi.sampling.sampler import Progress, Start, check_cancelled, mask_embedding, sample_latents
from maisi.sampling.trajectory import Recorded
from maisi.scanner_noise import add_noise
from maisi.tiling.tiles import ChainStatistics
from maisi.volume import ImageVolume, LabelVolume
from maisi.windows import decode_compatible


@dataclass(frozen=True)
class Made:
    """An image on the model grid, the latents ``[4, i, j, k]`` float32 it was decoded from, and how it was done.

    Attributes:
        run: what a local edit of the image needs, where there is room for it.
    """

    image: ImageVolume
    latents: np.ndarray
    plan: Plan
    run: Run | None = None


def make_image(
    plan: Plan,
    labels: LabelVolume | None,
    options: Options,
    start: Start,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Made:
    """Make one image.

    Args:
        plan: how. labels: on the user's grid; None for an image without a mask. options, start: what.
        progress: called with (stage, step, total); stages "load", "sample", "decode".

    Raises:
        OutOfMemoryError: memory ran out even in the smallest way. Cancelled: between steps. InputError, WeightsError.
    """
    plan.check()
    while True:
        try:
            with memory_errors(plan.device):
                return _attempt(plan, labels, options, start, progress, cancelled)
        except OutOfMemoryError:
            smaller = plan.smaller()
            if smaller is None:
                raise
            plan = smaller
        RUNS.clear()
        free_networks()  # out here, where the error no longer holds on to what filled the memory


def free_networks() -> None:
    """Forget the loaded networks and give their memory back."""
    _networks.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _attempt(
    plan: Plan,
    labels: LabelVolume | None,
    options: Options,
    start: Start,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Made:
    check_cancelled(cancelled)
    progress("load", 0, 1)
    networks = loaded_networks(plan, options, masked=labels is not None)
    progress("load", 1, 1)
    states: list[Tensor] | None = [] if _can_be_kept(plan, labels, options) else None
    statistics: ChainStatistics = {}
    grid_labels = None if labels is None else plan.grid.labels_to_model(labels)
    target = Target(plan.model_shape, plan.grid.model_spacing, None if grid_labels is None else grid_labels.array)

    def embed(masks: np.ndarray) -> Tensor:
        if options.compatible:  # all at once, as the reference does
            return mask_embedding(networks, masks, torch.float32)
        if plan.embedding is not None:
            return embed_in_tiles(networks, masks, plan.dtype, plan.embedding)
        return torch.cat([mask_embedding(networks, mask[None], plan.dtype) for mask in masks])

    with on_device(networks, plan, "unet", "controlnet"):
        latents = sample_latents(networks, target, options, embed, progress, cancelled, start, plan.dtype, states)
    with on_device(networks, plan, "autoencoder"):
        if options.compatible:
            progress("decode", 0, 1)
            image = decode_compatible(networks, latents, grid_labels, affine=plan.grid.model_affine)
            progress("decode", 1, 1)
        else:
            image = decode(
                networks,
                latents,
                grid_labels,
                affine=plan.grid.model_affine,
                tiles=plan.decoding,
                gathered=None if states is None else statistics,
                progress=progress,
                cancelled=cancelled,
            )
            noise = get_variant(options.model).noise
            if noise is not None:
                image = add_noise(image, target.labels, noise, options.seed)
    result = latents[0].float().cpu().numpy()
    if states is None:
        return Made(image, result, plan)
    run = Run(options.to_json(), plan.grid, labels, grid_labels.array, result, Recorded(states), statistics)
    return Made(image, result, plan, run)


def loaded_networks(plan: Plan, options: Options, masked: bool = True) -> Networks:
    """The networks for a job, ready to run; those of the last job stay loaded. Raises WeightsError."""
    roles = ROLES if masked else tuple(role for role in ROLES if role != "controlnet")
    variant = get_variant(options.model)
    weights = variant.folder, variant.checksum  # a model may be replaced by another of its name
    return _networks(options.model, weights, plan.device, plan.precision, options.compatible, options.compiled, roles)


def _can_be_kept(plan: Plan, labels: LabelVolume | None, options: Options) -> bool:
    """Whether the image can be edited locally later, and what that needs can be kept."""
    variant = get_variant(options.model)
    schedule = variant.schedule
    if labels is None or options.compatible or schedule.kind != "rectified_flow":
        return False
    calls = network_calls(options, schedule)
    return RUNS.has_room_for(calls * 2 * variant.latent_channels * prod(plan.model_shape) // COMPRESSION**3)


@lru_cache(maxsize=1)
def _networks(
    model: str,
    weights: tuple[Path, str],
    device: str,
    precision: str,
    compatible: bool,
    compiled: bool,
    roles: tuple[str, ...],
) -> Networks:
    networks = load_networks(get_variant(model), resolve_device(device), roles, half=False if compatible else None)
    if compatible:
        return as_reference(networks)
    fast = {
        role: accelerate(getattr(networks, role), getattr(torch, precision))
        for role in roles
        if getattr(networks, role)
    }
    if compiled:
        for role in set(fast) - {"autoencoder"}:  # its volumes and tiles change their size all the time
            compile_network(fast[role])
    return replace(networks, **fast)


@contextmanager
def on_device(networks: Networks, plan: Plan, *roles: str) -> Iterator[None]:
    """Networks ``roles`` are on the device; afterwards, where the plan says so, in the host's memory."""
    present = [network for role in roles if (network := getattr(networks, role)) is not None]
    if plan.offload:
        for network in present:
            network.to(networks.device)
    try:
        yield
    finally:
        if plan.offload:
            for network in present:
                network.to("cpu")


@contextmanager
def memory_errors(device: str) -> Iterator[None]:
    """Turn the several ways in which torch runs out of memory into one."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise OutOfMemoryError(
            f"The memory of {device} ran out during the synthesis; crop the segmentation or use a coarser spacing."
        ) from error
