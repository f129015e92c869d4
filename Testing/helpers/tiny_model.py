"""A complete model of the smallest networks with random weights: real code paths in a fraction of a second."""

import json
from pathlib import Path

import torch
from torch import nn

from maisi.models.networks import build_networks
from maisi.models.variants import SHIPPED_MODELS
from maisi.train.model_export import write_model

LEVELS = {
    "num_channels": [16, 16, 16],
    "num_res_blocks": 1,
    "attention_levels": [False, False, False],
    "num_head_channels": [0, 0, 16],
    "norm_num_groups": 4,
    "num_class_embeds": 128,
    "resblock_updown": True,
    "include_fc": True,
}
NETWORKS = {
    "autoencoder": {
        "num_channels": [8, 8, 8],
        "num_res_blocks": [1, 1, 1],
        "norm_num_groups": 2,
        "norm_eps": 1e-6,
    },
    "unet": LEVELS,
    "controlnet": {**LEVELS, "conditioning_embedding_num_channels": [4, 4, 8]},
}
CHANGES = {
    "networks": NETWORKS,
    "schedule": {"steps": 2, "time_scale": "volume", "grid": "clean"},
    "noise": None,
    "scale_factor": 1.0,
}


def write_tiny_model(folder: Path, name: str = "tiny", mask_strength: float = 1.0) -> Path:
    """Write ``name.json`` and ``name.safetensors`` into ``folder``; return the card's path.

    Args:
        mask_strength: makes more of what the mask does to the image, which is about 1 HU.
    """
    torch.manual_seed(1)
    networks = build_networks(NETWORKS)
    fill_zeros(networks)
    controlnet = networks["controlnet"]
    with torch.no_grad():
        for parameter in (
            *controlnet.controlnet_down_blocks.parameters(),
            *controlnet.controlnet_mid_block.parameters(),
        ):
            parameter.mul_(mask_strength)
        for parameter in controlnet.controlnet_cond_embedding.parameters():
            parameter.mul_(mask_strength**0.25)
    card = json.loads((SHIPPED_MODELS / "embedded.json").read_text(encoding="utf-8"))
    parameters = sum(p.numel() for network in networks.values() for p in network.parameters())
    texts = {"name": name, "title": "Tiny", "description": "Random weights, for tests.", "license": "none"}
    model = {**card["model"], **CHANGES, "parameters": parameters}
    states = {role: network.state_dict() for role, network in networks.items()}
    return write_model(folder, {**texts, "model": model, "training": {}, "metrics": {}}, states)


def fill_zeros(networks: dict[str, nn.Module]) -> None:
    """Random numbers for what is initialised with zeros: it would hide all that comes before it from the result."""
    with torch.no_grad():
        for parameter in (p for network in networks.values() for p in network.parameters()):
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.05)
