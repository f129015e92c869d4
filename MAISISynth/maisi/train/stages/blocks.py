"""The parts of a network whose activations can be recomputed instead of kept (gradient checkpointing)."""

from __future__ import annotations

from torch import nn

from maisi.train.activations import recompute
from maisi.train.stage import Stage

_LISTS = ("blocks", "down_blocks", "up_blocks")
_SINGLE = ("middle_block", "controlnet_cond_embedding")


def recompute_blocks(stage: Stage) -> None:
    """Let the backward pass compute the activations inside the stage's networks again, block by block.

    The frozen UNet of a ControlNet is one of them: gradients flow through its second half.
    """
    networks = {**stage.averaged(), "unet": getattr(stage, "unet", None)}
    recompute([block for network in networks.values() if network is not None for block in blocks_of(network)])


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Levels of the UNets, blocks of the autoencoders, the embedding of a ControlNet."""
    halves = [getattr(network, name) for name in ("encoder", "decoder") if hasattr(network, name)] or [network]
    rows = [block for half in halves for name in _LISTS for block in getattr(half, name, ())]
    return rows + [getattr(network, name) for name in _SINGLE if hasattr(network, name)]
