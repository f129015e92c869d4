"""From trained networks to a model that ships: half-precision safetensors and its card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save as safetensors_bytes
from torch import nn

from maisi.train.recipe import GRID, INTENSITY, NETWORKS


def export_model(
    folder: Path,
    name: str,
    networks: dict[str, nn.Module],
    facts: dict[str, Any],
    architecture: dict[str, dict[str, Any]] = NETWORKS,
) -> Path:
    """Write ``name.safetensors`` (float16) and ``name.json`` into ``folder``.

    Args:
        networks: "autoencoder", "unet", "controlnet". facts: title, description, license, training, metrics and
            schedule for the card. architecture: what ``networks`` were built from.

    Returns:
        Path of the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{prefix}.{key}": value.half().contiguous()
        for prefix, network in networks.items()
        for key, value in network.state_dict().items()
    }
    content = safetensors_bytes(tensors, metadata={"format": "pt", "name": name})
    weights = folder / f"{name}.safetensors"
    weights.write_bytes(content)
    card = {
        "name": name,
        "title": facts["title"],
        "description": facts["description"],
        "license": facts["license"],
        "model": {
            "networks": architecture,
            "image": "ct",
            "intensity": {"hu": INTENSITY.hu, "unit": INTENSITY.unit},
            "schedule": facts["schedule"],
            "grid": GRID,
            "modalities": {"ct": 1},
            "modality": "ct",
            "guidance": 0.0,
            "scale_factor": 1.0,
            "parameters": sum(p.numel() for n in networks.values() for p in n.parameters()),
        },
        "weights": [{"role": "all", "file": weights.name, "sha256": hashlib.sha256(content).hexdigest()}],
        "training": facts["training"],
        "metrics": facts["metrics"],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path
