"""A complete model of the smallest networks with random weights: real code paths in a fraction of a second."""

from pathlib import Path

import torch

from maisi.models.networks import build_networks
from maisi.train import recipe
from maisi.train.export import export_model

LEVELS = {
    **recipe.NETWORKS["unet"],
    "num_channels": [16, 16, 16],
    "num_head_channels": [0, 0, 16],
    "norm_num_groups": 4,
}
NETWORKS = {
    "autoencoder": {**recipe.NETWORKS["autoencoder"], "num_channels": [8, 8, 8]},
    "unet": LEVELS,
    "controlnet": {**LEVELS, "conditioning_embedding_num_channels": [4, 4, 8]},
}
FACTS = {
    "title": "Tiny",
    "description": "Random weights, for tests.",
    "license": "none",
    "default_steps": 2,
    "time_scale": "volume",
    "training": {},
    "metrics": {},
}


def write_tiny_model(folder: Path, name: str = "tiny") -> Path:
    """Write ``name.json`` and ``name.safetensors`` into ``folder``; return the card's path."""
    torch.manual_seed(1)
    autoencoder, unet, controlnet = build_networks(NETWORKS)
    with torch.no_grad():  # the zero-initialised ends would hide the label map from the result
        for parameter in (*unet.parameters(), *controlnet.parameters()):
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.05)
    networks = {"autoencoder": autoencoder, "unet": unet, "controlnet": controlnet}
    return export_model(folder, name, networks, FACTS, NETWORKS)
