"""The ControlNet's embedding of a label map in exact tiles: the label map's bit planes never exist as a whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maisi.models.networks import mask_bits
from maisi.models.weights import Networks
from maisi.tiling.chain import embedding_chain
from maisi.tiling.tiles import Tiles, run_box, run_tiles
from maisi.volume import Box


@torch.inference_mode()
def embed_in_tiles(networks: Networks, labels: np.ndarray, dtype: torch.dtype, tiles: Tiles) -> Tensor:
    """Mask embeddings, equal to ``controlnet.embed_mask(mask_bits(labels))`` within float error.

    Args:
        labels: uint8 ids ``[B, 4i, 4j, 4k]``. dtype: of the networks. tiles: see :class:`Tiles`; needs no cuts.

    Returns:
        ``[B, C, i, j, k]`` on the networks' device.
    """
    chain = embedding_chain(networks.controlnet.controlnet_cond_embedding)
    shape = [n // chain.scales[0] for n in labels.shape[1:]]
    embedding = torch.empty((len(labels), chain.channels[-1], *shape), dtype=dtype, device=networks.device)
    for array, result in zip(labels, embedding, strict=True):

        def write(box: Box, values: Tensor, result: Tensor = result) -> None:
            result[(..., *box)] = values[0]

        run_tiles(chain, tiles, shape, _bits_of(array, networks, dtype), write)
    return embedding


@torch.inference_mode()
def embed_box(networks: Networks, labels: np.ndarray, dtype: torch.dtype, box: Box) -> Tensor:
    """The ``box`` (of latents) of what :func:`embed_in_tiles` gives, ``[B, C, i, j, k]``; the rest is not computed."""
    chain = embedding_chain(networks.controlnet.controlnet_cond_embedding)
    shape = [n // chain.scales[0] for n in labels.shape[1:]]
    parts = []
    for array in labels:
        largest = max(s.stop - s.start for s in box)
        run_box(
            chain, largest, shape, box, {}, _bits_of(array, networks, dtype), lambda _box, values: parts.append(values)
        )
    return torch.cat(parts)


def _bits_of(array: np.ndarray, networks: Networks, dtype: torch.dtype) -> Callable[[Box], Tensor]:
    """Reads boxes of a label array ``[4i, 4j, 4k]`` as bit planes on the device."""

    def read(box: Box) -> Tensor:
        mask = torch.from_numpy(np.ascontiguousarray(array[box]))[None, None].to(networks.device)
        return mask_bits(mask, dtype).contiguous(memory_format=torch.channels_last_3d)

    return read
