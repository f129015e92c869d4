"""Stages with the smallest networks, and made-up batches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helpers.prepared_folder import write_prepared
from helpers.tiny_model import fill_zeros
from maisi.labels import BODY, remove_lesions
from maisi.train.config import TrainConfig, make_config
from maisi.train.prepared import PREPARED
from maisi.train.stage import Progress, Stage
from maisi.train.stages import make_stage
from maisi.train.stages.start import Start, write_weights

CPU = torch.device("cpu")
BEGIN, END = Progress(0, 0.0), Progress(9, 1.0)
LATENT, IMAGE = (8, 8, 8), (32, 32, 32)
_LEVELS = {"num_channels": [16, 16, 16], "num_head_channels": [0, 0, 16], "norm_num_groups": 4, "latent_channels": 4}
NETWORKS = {
    "autoencoder": {
        "num_channels": [8, 8, 8],
        "num_res_blocks": [1, 1, 1],
        "norm_num_groups": 2,
        "norm_eps": 1e-6,
        "latent_channels": 4,
    },
    "unet": _LEVELS,
    "controlnet": {**_LEVELS, "conditioning_embedding_num_channels": [4, 4, 8]},
    "mask_autoencoder": {"num_channels": [8, 8, 8], "num_res_blocks": [1, 1, 1], "norm_num_groups": 4},
    "mask_unet": {
        "channels": [16, 16],
        "attention_levels": [False, True],
        "num_head_channels": [0, 8],
        "num_res_blocks": 1,
        "norm_num_groups": 4,
    },
}


def tiny_config(
    stage: str, prepared: Path, model: str = "embedded", weights: dict[str, str] | None = None, **settings: Any
) -> TrainConfig:
    """A configuration of ``stage`` with small networks on the CPU and, where there are none, no data.

    Args:
        settings: of the stage's section, and ``pairs`` of the data.
    """
    if not (prepared / PREPARED).exists():
        write_prepared(prepared, [])
    values = {
        "stage": stage,
        "run": {"steps": 10, "precision": "float32", "device": "cpu"},
        "data": {"prepared": str(prepared), "pairs": settings.pop("pairs", False)},
        "network": {"model": model, "networks": NETWORKS, "weights": weights or {}},
        stage: settings,
    }
    return make_config(values)


def tiny_stage(config: TrainConfig, seed: int = 0) -> Stage:
    """The stage, the same for each seed."""
    torch.manual_seed(seed)
    return make_stage(config, CPU)


def write_random_weights(folder: Path, config: TrainConfig, *roles: str, scale_factor: float = 1.0) -> Path:
    """A run's folder with random weights of the networks ``roles``; its path."""
    start = Start.of(config.network)
    torch.manual_seed(1)
    for role in roles:
        network = start.build(role)
        fill_zeros({role: network})
        write_weights(folder / "weights", role, network, scale_factor if role.endswith("unet") else None)
    return folder


def random_labels(count: int = 1) -> Tensor:
    """``[count, 1, 32, 32, 32]``: liver in a body, with a hepatic tumor of 8 x 8 x 8 voxels in all but the last."""
    labels = torch.zeros((count, 1, *IMAGE), dtype=torch.uint8)
    labels[:, :, 4:28, 4:28] = BODY
    labels[:, :, 8:26, 8:26, 4:28] = 1
    labels[: max(1, count - 1), :, 12:20, 12:20, 12:20] = 26
    return labels


def healed(labels: Tensor) -> Tensor:
    """``labels`` ``[B, 1, I, J, K]`` without lesions."""
    return torch.stack([torch.from_numpy(remove_lesions(one[0].numpy()))[None] for one in labels])


def latent_batch(count: int = 1) -> dict[str, Tensor]:
    """A batch for diffusion and ControlNet."""
    generator = torch.Generator().manual_seed(5)
    labels = random_labels(count)
    return {
        "latent": torch.randn((count, 4, *LATENT), generator=generator),
        "spacing": torch.full((count, 3), 2.5),
        "modality": torch.ones(count, dtype=torch.long),
        "region": torch.tensor([[1, 2]] * count),
        "labels": labels,
        "healed": healed(labels),
    }


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lower_loss(stage: Stage, batch: dict[str, Tensor], steps: int = 25, rate: float = 3e-3) -> tuple[float, float]:
    """Mean loss of every player's first and last three steps on one batch; what the loop does, in small."""
    optimizers = {player: torch.optim.Adam(stage.parameters_of(player), rate) for player in stage.players}
    losses: dict[str, list[float]] = {player: [] for player in stage.players}
    for step in range(steps):
        for player, optimizer in optimizers.items():
            loss, _ = stage(player, batch, generator(), Progress(step, step / steps))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[player].append(loss.item())
    first = losses[stage.players[0]]
    return sum(first[:3]) / 3, sum(first[-3:]) / 3
