"""The diffusion UNet on latents of images; the paper's three stages are three configurations of it (FACTS 5.3)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from maisi.train.config import TrainConfig
from maisi.train.losses.flow import prediction_loss
from maisi.train.stage import Batch, Progress
from maisi.train.stages.latent import LatentStage
from maisi.train.stages.start import Start, write_weights


class DiffusionStage(LatentStage):
    """Batches hold "latent" ``[B, 4, i, j, k]``, "spacing" ``[B, 3]`` mm, "modality" ``[B]``, for ddpm "region".

    Raises:
        InputError: see :class:`Start`.
    """

    uses_all_weights = True

    def __init__(self, config: TrainConfig, start: Start, device: torch.device) -> None:
        super().__init__(config, start)
        unet, scale_factor = start.load("unet")
        self.unet = unet.to(device)
        self.set_scale_factor(scale_factor, device)

    def averaged(self) -> dict[str, nn.Module]:
        return {"unet": self.unet}

    def forward(
        self, player: str, batch: Batch, generator: torch.Generator, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch, generator), {}

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        return {"score": self._loss(batch, generator, dropout=False).item()}

    def export(self, folder: Path) -> list[Path]:
        return [write_weights(folder, "unet", self.unet, self.scale_factor.item())]

    def _loss(self, batch: Batch, generator: torch.Generator, dropout: bool = True) -> Tensor:
        noisy = self.noisy(batch, generator, dropout)
        prediction = self.unet(noisy.x, noisy.times, noisy.conditions)
        return prediction_loss(self.by_channel(prediction), self.by_channel(noisy.target), self.settings.loss)
