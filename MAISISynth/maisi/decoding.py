"""Latents <-> images: whole, or in exact tiles; scaled and rounded on the device, brought to the host once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maisi.errors import Cancelled, InputError
from maisi.models.networks import COMPRESSION, LATENT_CHANNELS
from maisi.models.variants import Variant
from maisi.models.weights import Networks
from maisi.tiling.chain import decoder_chain, encoder_chain
from maisi.tiling.tiles import Box, Tiles, run_tiles
from maisi.volume import ImageVolume, LabelVolume

Progress = Callable[[str, int, int], None]

AIR_HU = -1000
_LAST = torch.channels_last_3d


def background(variant: Variant) -> int:
    """What voxels of label 0 are set to: air in HU, 0 in MR (FACTS 2.7)."""
    return AIR_HU if variant.image == "ct" else 0


@torch.inference_mode()
def decode(
    networks: Networks,
    latents: Tensor,
    labels: LabelVolume | None = None,
    *,
    affine: np.ndarray | None = None,
    tiles: Tiles | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ImageVolume:
    """The image of ``latents``; voxels of label 0 become background (FACTS 2.7).

    Args:
        latents: ``[1, 4, i, j, k]``. labels: on the model grid, ``[4i, 4j, 4k]``; None: nothing becomes background.
        affine: of the image where there are no labels. tiles: None: the whole volume at once.
        progress: called with ("decode", done, total) after each tile. cancelled: asked before each tile.

    Returns:
        int16 HU (MR: image units) ``[4i, 4j, 4k]``, rounded. Other tiles may round a value between two integers the
        other way (about one voxel in 10,000, by 1).

    Raises:
        Cancelled: on request.
    """
    network, variant, device = networks.autoencoder, networks.variant, networks.device
    latents = latents.to(device, next(network.parameters()).dtype).contiguous(memory_format=_LAST)
    image = np.empty([n * COMPRESSION for n in latents.shape[2:]], np.int16)

    def write(box: Box, unit: Tensor) -> None:
        limits = np.iinfo(np.int16)
        values = variant.intensity.to_hu(unit[0, 0]).round_().clamp_(limits.min, limits.max).to(torch.int16)
        if labels is not None:
            values[torch.from_numpy(np.ascontiguousarray(labels.array[box])).to(device) == 0] = background(variant)
        torch.from_numpy(image)[box] = values.to("cpu")

    report, check = _reporting("decode", progress, cancelled)
    if tiles is None:
        check()
        write(tuple(slice(0, n) for n in image.shape), network.decode(latents))
        report(1, 1)
    else:
        chain = decoder_chain(network)
        run_tiles(
            chain, tiles, latents.shape[2:], lambda box: latents[(..., *box)], write, progress=report, check=check
        )
    return ImageVolume(image, affine if labels is None else labels.affine)


@torch.inference_mode()
def encode(
    networks: Networks,
    image: ImageVolume,
    *,
    tiles: Tiles | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Tensor:
    """Mean latents of an image.

    Args:
        image: ``[4i, 4j, 4k]`` in HU (MR: image units). The others: as for :func:`decode`; stage "encode".

    Returns:
        float32 ``[1, 4, i, j, k]`` on the networks' device.

    Raises:
        InputError: a size is not a multiple of 4. Cancelled: on request.
    """
    if any(n % COMPRESSION for n in image.shape):
        raise InputError(f"An image of {image.shape} voxels cannot be encoded; pad each size to a multiple of 4.")
    network, device = networks.autoencoder, networks.device
    dtype = next(network.parameters()).dtype
    shape = [n // COMPRESSION for n in image.shape]
    latents = torch.empty((1, LATENT_CHANNELS, *shape), device=device)

    def read(box: Box) -> Tensor:
        values = torch.from_numpy(np.array(image.array[box], order="C")).to(device)
        unit = networks.variant.intensity.to_unit(values)[None, None]
        return unit.to(dtype).contiguous(memory_format=_LAST)

    def write(box: Box, mean: Tensor) -> None:
        latents[(..., *box)] = mean.float()

    report, check = _reporting("encode", progress, cancelled)
    if tiles is None:
        check()
        write((...,), network.encode(read((...,)))[0])
        report(1, 1)
    else:
        run_tiles(encoder_chain(network), tiles, shape, read, write, progress=report, check=check)
    return latents


def _reporting(
    stage: str, progress: Progress | None, cancelled: Callable[[], bool] | None
) -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """``progress`` and ``cancelled`` as :func:`run_tiles` takes them."""

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total)

    def check() -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("The synthesis was cancelled; nothing was changed.")

    return report, check
