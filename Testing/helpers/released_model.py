"""A small model whose weight files look like the released ones (FACTS 1.8): separate files, by three layouts."""

import hashlib
import json
from pathlib import Path

import torch

from helpers.tiny_model import NETWORKS
from maisi.models.networks import build_networks
from maisi.models.variants import SHIPPED_MODELS

REPOSITORY = "nobody/small-ct"
LICENSE = "NVIDIA Open Model License"
SCALE_FACTOR = 0.9696779847145081
FILES = {
    "autoencoder": "small_autoencoder.pt",
    "unet": "diff_unet_3d_small-ct.pt",
    "controlnet": "controlnet_3d_small-ct.pt",
}


def random_states(seed: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of small random networks, by role."""
    torch.manual_seed(seed)
    states = {role: network.state_dict() for role, network in build_networks(NETWORKS).items()}
    for tensor in (tensor for state in states.values() for tensor in state.values()):
        tensor.add_(torch.randn(tensor.shape) * 0.05)  # the zero-initialised ends would hide everything before them
    return states


def released_layout(role: str, state: dict[str, torch.Tensor]) -> dict:
    """``state`` in the layout of the released file of ``role``."""
    extras = {"epoch": 7, "loss": torch.tensor(0.1)}
    if role == "unet":
        scale = torch.tensor(SCALE_FACTOR)
        return {**extras, "num_train_timesteps": 1000, "scale_factor": scale, "unet_state_dict": state}
    return {**extras, "controlnet_state_dict": state} if role == "controlnet" else state


def write_weights(folder: Path, states: dict[str, dict[str, torch.Tensor]]) -> dict[str, Path]:
    """The weight files, by role, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, state in states.items():
        torch.save(released_layout(role, state), folder / FILES[role])
    return {role: folder / FILES[role] for role in states}


def write_card(models: Path, files: dict[str, Path], published: bool = True) -> Path:
    """A card called "small-ct" in ``models``, with the checksums of ``files`` unless they are not ``published``."""
    weights = [
        {
            "role": role,
            "file": path.name,
            "repository": REPOSITORY,
            "path": f"models/{path.name}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if published else None,
            "license": LICENSE,
        }
        for role, path in files.items()
    ]
    card = json.loads((SHIPPED_MODELS / "embedded.json").read_text())
    card |= {"name": "small-ct", "license": LICENSE, "weights": weights}
    card["model"] |= {"networks": NETWORKS, "scale_factor": None}
    path = models / "small-ct.json"
    path.write_text(json.dumps(card))
    return path
