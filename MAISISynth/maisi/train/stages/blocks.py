"""Gradient checkpointing: the backward pass computes activations again in place of keeping them all."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from maisi.train.stage import Stage

_LISTS = ("blocks", "down_blocks", "up_blocks")


def recompute_blocks(stage: Stage) -> None:
    """Keep of the stage's networks only what enters each block; the same gradients for about a third more time.

    The frozen UNet of a ControlNet is one of them: gradients flow through its second half.
    """
    networks = {**stage.averaged(), "unet": getattr(stage, "unet", None)}
    for network in filter(None, networks.values()):
        for block in blocks_of(network):
            # On the instance: names of weights stay as they are.
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Levels of the UNets, blocks of the autoencoders."""
    halves = [getattr(network, name) for name in ("encoder", "decoder") if hasattr(network, name)] or [network]
    rows = [block for half in halves for name in _LISTS for block in getattr(half, name, ())]
    return [*rows, network.middle_block] if hasattr(network, "middle_block") else rows
