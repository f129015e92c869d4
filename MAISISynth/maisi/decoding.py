"""Latents <-> images: whole, or in exact tiles; scaled and rounded on the device, brought to the host once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from maisi.errors import Cancelled, InputError
from maisi.models.networks import COMPRESSION, LATENT_CHANNELS, Autoencoder
from maisi.models.norms import Statistics
from maisi.models.variants import Variant
from maisi.models.weights import Networks
from maisi.tiling.chain import Chain, decoder_chain, encoder_chain
from maisi.tiling.tiles import ChainStatistics, Tiles, run_box, run_tiles
from maisi.volume import Box, ImageVolume, LabelVolume

Progress = Callable[[str, int, int], None]

AIR_HU = -1000
LOG_VARIANCE = (-30.0, 20.0)  # of latents (FACTS 1.3)
BOX_TILE = 24  # latents; a part is rarely larger
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
    gathered: ChainStatistics | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ImageVolume:
    """The image of ``latents``; voxels of label 0 become background (FACTS 2.7).

    Args:
        latents: ``[1, 4, i, j, k]``. labels: on the model grid, ``[4i, 4j, 4k]``; None: nothing becomes background.
        affine: of the image where there are no labels. tiles: None: the whole volume at once.
        gathered: is filled with what :func:`decode_box` needs to decode a part of this volume again.
        progress: called with ("decode", done, total) after each tile. cancelled: asked before each tile.

    Returns:
        int16 HU (MR: image units) ``[4i, 4j, 4k]``, rounded. Other tiles may round a value between two integers the
        other way (about one voxel in 10,000, by 1).

    Raises:
        Cancelled: on request.
    """
    chain, latents = decoder_chain(networks.autoencoder), _ready(networks, latents)
    image = np.empty([n * COMPRESSION for n in latents.shape[2:]], np.int16)

    def write(box: Box, unit: Tensor) -> None:
        torch.from_numpy(image)[box] = _to_int16(unit, networks, None if labels is None else labels.array[box])

    report, check = _reporting("decode", progress, cancelled)
    if tiles is None:
        check()
        with nullcontext() if gathered is None else _gathering(chain, gathered):
            unit = networks.autoencoder.decode(latents)
        write(tuple(slice(0, n) for n in image.shape), unit)
        report(1, 1)
    else:
        read = lambda box: latents[(..., *box)]  # noqa: E731
        statistics = run_tiles(chain, tiles, latents.shape[2:], read, write, progress=report, check=check)
        if gathered is not None:
            gathered.update(statistics)
    return ImageVolume(image, affine if labels is None else labels.affine)


@torch.inference_mode()
def decode_box(
    networks: Networks,
    latents: Tensor,
    box: Box,
    statistics: ChainStatistics,
    labels: np.ndarray | None = None,
    *,
    size: int = BOX_TILE,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> np.ndarray:
    """A part of the image of ``latents``: int16 voxels of ``box``, which is told in latents.

    Args:
        latents: ``[1, 4, i, j, k]``, of the whole volume. labels: uint8 of the whole ``[4i, 4j, 4k]``, or None.
        statistics: what :func:`decode` gathered, of these latents or of ones that differ a little. size: of tiles, in
            latents. The others, and what is raised: as for :func:`decode`.
    """
    latents = _ready(networks, latents)
    origin = [s.start * COMPRESSION for s in box]
    image = np.empty([(s.stop - s.start) * COMPRESSION for s in box], np.int16)

    def write(place: Box, unit: Tensor) -> None:
        here = tuple(slice(s.start - o, s.stop - o) for s, o in zip(place, origin, strict=True))
        torch.from_numpy(image)[here] = _to_int16(unit, networks, None if labels is None else labels[place])

    report, check = _reporting("decode", progress, cancelled)
    chain, shape = decoder_chain(networks.autoencoder), latents.shape[2:]
    read = lambda place: latents[(..., *place)]  # noqa: E731
    run_box(chain, size, shape, box, statistics, read, write, progress=report, check=check)
    return image


def _ready(networks: Networks, latents: Tensor) -> Tensor:
    return latents.to(networks.device, next(networks.autoencoder.parameters()).dtype).contiguous(memory_format=_LAST)


def _to_int16(unit: Tensor, networks: Networks, labels: np.ndarray | None) -> Tensor:
    """Rounded image values on the host, of the decoder's output ``[1, 1, I, J, K]``; background where labels are 0."""
    limits = np.iinfo(np.int16)
    values = networks.variant.intensity.to_hu(unit[0, 0]).round_().clamp_(limits.min, limits.max).to(torch.int16)
    if labels is not None:
        outside = torch.from_numpy(np.ascontiguousarray(labels)).to(values.device) == 0
        values[outside] = background(networks.variant)
    return values.to("cpu")


@contextmanager
def _gathering(chain: Chain, gathered: ChainStatistics) -> Iterator[None]:
    """While the network runs as a whole, take the statistics that the norms of ``chain`` see."""
    found = {k: Statistics(layer.norm) for k, layer in enumerate(chain.layers) if layer.norm is not None}
    hooks = [
        chain.layers[k].norm.register_forward_pre_hook(lambda _norm, inputs, taken=taken: taken.add(inputs[0]))
        for k, taken in found.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    gathered.update({k: taken.of_channels() for k, taken in found.items()})


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


@torch.inference_mode()
def encode_distribution(
    network: Autoencoder, unit: Tensor, device: torch.device, tiles: Tiles | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of an image, of which training draws.

    Args:
        unit: ``[1, 1, 4i, 4j, 4k]`` in the network's range. device: of the network. tiles: None: the whole at once.

    Returns:
        Two float32 tensors ``[1, 4, i, j, k]`` on the device.
    """
    dtype = next(network.parameters()).dtype

    def read(box: Box) -> Tensor:
        return unit[(..., *box)].to(device, dtype).contiguous(memory_format=_LAST)

    if tiles is None:
        mean, sigma = network.encode(read((...,)))
        return mean.float(), sigma.float()
    moments = (network.quant_conv_mu.conv, network.quant_conv_log_sigma.conv)
    both = torch.nn.Conv3d(moments[0].in_channels, 2 * LATENT_CHANNELS, kernel_size=1, device=device, dtype=dtype)
    both.weight.copy_(torch.cat([conv.weight for conv in moments]))
    both.bias.copy_(torch.cat([conv.bias for conv in moments]))
    shape = [n // COMPRESSION for n in unit.shape[2:]]
    found = torch.empty((1, 2 * LATENT_CHANNELS, *shape), device=device)

    def write(box: Box, part: Tensor) -> None:
        found[(..., *box)] = part.float()

    run_tiles(encoder_chain(network, both), tiles, shape, read, write)
    mean, log_variance = found.chunk(2, dim=1)
    return mean, torch.exp(log_variance.clamp(*LOG_VARIANCE) / 2)


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
