"""The mask generator (MAISI-v1; FACTS 1.6, 3.2): an autoencoder of label maps, and the diffusion of its latents."""

from __future__ import annotations

import json
from itertools import islice
from math import isnan
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maisi.models.mask_networks import MaskAutoencoder, classes_of
from maisi.models.networks import mask_bits
from maisi.train.config import TrainConfig
from maisi.train.losses.flow import Ddpm, prediction_loss
from maisi.train.losses.vae import kl_divergence
from maisi.train.stage import Batch, Progress
from maisi.train.stages.latent import standard_deviation
from maisi.train.stages.prepared_stage import PreparedStage
from maisi.train.stages.sections import MaskAutoencoderConfig, MaskDiffusionConfig
from maisi.train.stages.start import Start, write_weights

# Gallbladder, liver, stomach, pancreas, colon; tumors of lung, pancreas, liver, colon, bone (FACTS 3.2).
SIZED = (10, 1, 12, 4, 62, 23, 24, 26, 27, 128)
ABSENT = -1.0
_STEPS = 100  # of the scale of sizes


class _LabelStage(PreparedStage):
    """Batches hold "labels" ``[B, 1, I, J, K]`` ids and "spacing" ``[B, 3]`` mm."""

    kind = "labels"
    uses_all_weights = True


class MaskAutoencoderStage(_LabelStage):
    """Cross-entropy of the 125 classes, and KL divergence.

    Raises:
        InputError: see :class:`Start`.
    """

    settings: MaskAutoencoderConfig

    def __init__(self, config: TrainConfig, start: Start, device: torch.device) -> None:
        super().__init__(config, start)
        self.mask_autoencoder: MaskAutoencoder = start.load("mask_autoencoder")[0].to(device)

    def averaged(self) -> dict[str, nn.Module]:
        return {"mask_autoencoder": self.mask_autoencoder}

    def forward(
        self, player: str, batch: Batch, generator: torch.Generator, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        mean, sigma = self.mask_autoencoder.encode(mask_bits(batch["labels"]))
        latents = mean + sigma * torch.randn(mean.shape, generator=generator).to(mean)
        entropy, right = self._compare(latents, batch["labels"])
        divergence = kl_divergence(mean, sigma)
        figures = {"entropy": entropy.detach(), "right": right, "kl": divergence.detach()}
        return entropy + self.settings.kl_weight * divergence, {**figures, "latent_std": mean.detach().float().std()}

    @torch.no_grad()
    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        mean, _ = self.mask_autoencoder.encode(mask_bits(batch["labels"]))
        entropy, right = self._compare(mean, batch["labels"])
        return {"score": entropy.item(), "right": right.item()}

    def export(self, folder: Path) -> list[Path]:
        return [write_weights(folder, "mask_autoencoder", self.mask_autoencoder)]

    def _compare(self, latents: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and the part of the voxels inside the body whose class is right."""
        logits, wanted = self.mask_autoencoder.decode(latents).float(), classes_of(labels)[:, 0]
        inside = wanted > 0
        right = (logits.detach().argmax(1) == wanted)[inside].float().sum() / inside.sum().clamp(min=1)
        return F.cross_entropy(logits, wanted), right


class MaskDiffusionStage(_LabelStage):
    """DDPM on latents of the frozen mask autoencoder, told the sizes of ten organs.

    Raises:
        InputError: see :class:`Start`; no weights of the mask autoencoder.
    """

    settings: MaskDiffusionConfig
    scale_factor: Tensor
    size_scale: Tensor

    def __init__(self, config: TrainConfig, start: Start, device: torch.device) -> None:
        super().__init__(config, start)
        self.process = Ddpm()
        self.keep_apart("mask_autoencoder", start.frozen("mask_autoencoder", device))
        unet, known = start.load("mask_unet")
        self.mask_unet = unet.to(device)
        some = islice(self.batches(0, 1), self.settings.scale_batches)
        factor = known or 1 / standard_deviation(self._encode(batch["labels"].to(device)) for batch in some)
        self.register_buffer("scale_factor", torch.tensor(factor, device=device))
        cases = islice(self.batches(0, 1), self.settings.size_cases)
        volumes = torch.cat([organ_volumes(batch["labels"], batch["spacing"]) for batch in cases])
        self.register_buffer("size_scale", scale_of_sizes(volumes).to(device))

    def averaged(self) -> dict[str, nn.Module]:
        return {"mask_unet": self.mask_unet}

    def forward(
        self, player: str, batch: Batch, generator: torch.Generator, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch, generator, self.settings.size_dropout), {}

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        return {"score": self._loss(batch, generator, dropout=0.0).item()}

    def export(self, folder: Path) -> list[Path]:
        scale = [[None if isnan(volume) else volume for volume in row] for row in self.size_scale.tolist()]
        table = folder / "organ_sizes.json"
        table.write_text(json.dumps({"ids": SIZED, "percentiles_ml": scale}) + "\n", encoding="utf-8")
        return [write_weights(folder, "mask_unet", self.mask_unet, self.scale_factor.item()), table]

    @torch.no_grad()
    def _encode(self, labels: Tensor) -> Tensor:
        return self.mask_autoencoder.encode(mask_bits(labels))[0].float()

    def _loss(self, batch: Batch, generator: torch.Generator, dropout: float) -> Tensor:
        clean = self._encode(batch["labels"]) * self.scale_factor
        times = self.process.times(clean, generator)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        sizes = organ_sizes(organ_volumes(batch["labels"], batch["spacing"]), self.size_scale)
        hidden = torch.rand(sizes.shape, generator=generator).to(sizes.device) < dropout
        context = torch.where(hidden, ABSENT, sizes)[:, None]
        prediction = self.mask_unet(self.process.add_noise(clean, noise, times), times, context)
        return prediction_loss(prediction, self.process.target(clean, noise), self.settings.loss)


def organ_volumes(labels: Tensor, spacing: Tensor) -> Tensor:
    """Milliliters ``[B, 10]`` of the organs and tumors in ``SIZED``.

    Args:
        labels: ids ``[B, 1, I, J, K]``. spacing: mm ``[B, 3]``.
    """
    counts = torch.stack([torch.bincount(one.flatten().long(), minlength=256) for one in labels])
    return counts[:, list(SIZED)] * spacing.double().prod(1, keepdim=True) / 1000


def scale_of_sizes(volumes: Tensor) -> Tensor:
    """Quantiles 0, 1, ... 100 % ``[10, 101]`` of the volumes ``[N, 10]`` above 0; NaN for an organ that none shows."""
    quantiles = torch.linspace(0, 1, _STEPS + 1, dtype=torch.float64)
    present = [column[column > 0].double() for column in volumes.unbind(1)]
    unknown = torch.full_like(quantiles, float("nan"))
    return torch.stack([torch.quantile(some, quantiles) if len(some) else unknown for some in present]).float()


def organ_sizes(volumes: Tensor, scale: Tensor) -> Tensor:
    """Volumes ``[B, 10]`` on the ``scale``: 0...1 with 0.5 the median, -1 where the organ is absent."""
    below = (scale[None] < volumes.float()[:, :, None]).sum(2)  # NaN is never below
    return torch.where(volumes > 0, (below / _STEPS).clamp(max=1), ABSENT).float()
