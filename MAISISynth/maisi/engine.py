"""One image on the model grid: load what is needed, sample, decode; again in a smaller way where memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from maisi.decoding import decode
from maisi.devices import resolve_device
from maisi.errors import OutOfMemoryError
from maisi.mask_embedding import embed_in_tiles
from maisi.models.fast import accelerate, compile_network
from maisi.models.variants import get_variant
from maisi.models.weights import ROLES, Networks, load_networks
from maisi.options import Options
from maisi.planning import Plan
from maisi.sampling.conditions import Target
from maisi.sampling.reference import as_reference
from maisi.sampling.sampler import Progress, Start, check_cancelled, mask_embedding, sample_latents
from maisi.volume import ImageVolume, LabelVolume
from maisi.windows import decode_compatible


@dataclass(frozen=True)
class Made:
    """An image on the model grid, the latents ``[4, i, j, k]`` float32 it was decoded from, and how it was done."""

    image: ImageVolume
    latents: np.ndarray
    plan: Plan


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
            with _memory_errors(plan.device):
                return _attempt(plan, labels, options, start, progress, cancelled)
        except OutOfMemoryError:
            smaller = plan.smaller()
            if smaller is None:
                raise
            plan = smaller
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
    roles = ROLES if labels is not None else tuple(role for role in ROLES if role != "controlnet")
    networks = _networks(options.model, plan.device, plan.precision, options.compatible, options.compiled, roles)
    progress("load", 1, 1)
    grid_labels = None if labels is None else plan.grid.labels_to_model(labels)
    target = Target(plan.model_shape, _spacing(plan), None if grid_labels is None else grid_labels.array)

    def embed(masks: np.ndarray) -> Tensor:
        if options.compatible:  # all at once, as the reference does
            return mask_embedding(networks, masks, torch.float32)
        if plan.embedding is not None:
            return embed_in_tiles(networks, masks, plan.dtype, plan.embedding)
        return torch.cat([mask_embedding(networks, mask[None], plan.dtype) for mask in masks])

    with _on_device(networks, plan, "unet", "controlnet"):
        latents = sample_latents(networks, target, options, embed, progress, cancelled, start, plan.dtype)
    with _on_device(networks, plan, "autoencoder"):
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
                progress=progress,
                cancelled=cancelled,
            )
    return Made(image, latents[0].float().cpu().numpy(), plan)


def _spacing(plan: Plan) -> np.ndarray:
    return np.linalg.norm(plan.grid.model_affine[:3, :3], axis=0)


@lru_cache(maxsize=1)
def _networks(
    model: str, device: str, precision: str, compatible: bool, compiled: bool, roles: tuple[str, ...]
) -> Networks:
    """The networks of the last job stay loaded."""
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
def _on_device(networks: Networks, plan: Plan, *roles: str) -> Iterator[None]:
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
def _memory_errors(device: str) -> Iterator[None]:
    """Turn the several ways in which torch runs out of memory into one."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise OutOfMemoryError(
            f"The memory of {device} ran out during the synthesis; crop the segmentation or use a coarser spacing."
        ) from error
