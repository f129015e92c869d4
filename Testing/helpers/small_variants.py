"""The released variants with small networks of the same architecture and random weights, in the published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from helpers.released_model import released_layout
from helpers.tiny_model import fill_zeros
from maisi.models.networks import build_networks
from maisi.models.variants import SHIPPED_MODELS

RELEASED = ("ddpm-ct", "rflow-ct", "rflow-mr", "rflow-mr-brain")
_LEVELS = {"num_channels": [8, 16, 16, 16], "num_head_channels": [0, 0, 8, 8], "norm_num_groups": 8}
_SMALLER = {
    "autoencoder": {"num_channels": [8, 8, 16], "num_res_blocks": [2, 2, 2], "norm_num_groups": 4},
    "unet": _LEVELS,
    "controlnet": {**_LEVELS, "conditioning_embedding_num_channels": [8, 8, 8]},
}


def write_small_variant(folder: Path, name: str, full: bool = False) -> dict[str, nn.Module]:
    """Write the card ``small-<name>.json`` and its checkpoints into ``folder``; return the networks.

    Sizes and spacings are hardly restricted, so that tests can use small volumes. ``full``: networks of the released
    size, card ``full-<name>.json``.
    """
    card = json.loads((SHIPPED_MODELS / f"{name}.json").read_text())
    model = card["model"]
    if not full:
        model["networks"] = {role: {**config, **_SMALLER[role]} for role, config in model["networks"].items()}
    model["grid"] |= {"min_size": 32, "spacing_min": [0.5] * 3, "spacing_max": [8.0] * 3}
    card["name"] = f"{'full' if full else 'small'}-{name}"
    torch.manual_seed(3)
    networks = build_networks(model["networks"])
    fill_zeros(networks)
    for file in card["weights"]:
        file |= {"sha256": None, "repository": "", "path": "", "file": f"{name}-{file['role']}.pt"}
        torch.save(released_layout(file["role"], networks[file["role"]].state_dict()), folder / file["file"])
    (folder / f"{card['name']}.json").write_text(json.dumps(card))
    return networks
