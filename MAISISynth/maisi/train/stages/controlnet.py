"""The ControlNet (FACTS 5.4): weighted lesions, region-specific contrastive loss, counterfactual pairs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maisi.errors import InputError
from maisi.labels import LESIONS
from maisi.models.networks import ControlNet, mask_bits
from maisi.train.config import TrainConfig
from maisi.train.losses.contrastive import feature_contrast, pair_difference, region_contrast
from maisi.train.losses.flow import prediction_loss
from maisi.train.losses.regions import changed_regions, lesion_weight
from maisi.train.prepared import read_classes
from maisi.train.stage import Batch, Progress
from maisi.train.stages.latent import LatentStage, Noisy
from maisi.train.stages.sections import ControlNetConfig
from maisi.train.stages.start import Start, write_weights

KEPT_VOXELS = 2**21  # of label maps, whose embeddings' activations take about half a gigabyte


class _Pass(NamedTuple):
    """One pass through both networks: the prediction, and what a second pass under another label map can use."""

    prediction: Tensor
    features: list[Tensor]
    embedding: Tensor
    skips: list[Tensor]
    kept: Tensor | None


class ControlNetStage(LatentStage):
    """Batches hold, beside those of :class:`DiffusionStage`, "labels" ``[B, 1, 4i, 4j, 4k]`` ids and, for the
    contrastive loss, "healed", the same without lesions. With pairs: "latent" ``[P, 2, 4, i, j, k]`` and "labels"
    ``[P, 2, 1, 4i, 4j, 4k]``, index 0 without lesions.

    Raises:
        InputError: see :class:`Start`; a target of the contrastive loss that does not fit the data.
    """

    kind = "paired"
    uses_all_weights = True
    settings: ControlNetConfig

    def __init__(self, config: TrainConfig, start: Start, device: torch.device) -> None:
        super().__init__(config, start)
        if (self.settings.contrastive.target == "pair") != config.data.pairs:
            raise InputError(
                'controlnet.contrastive.target "pair" and data.pairs belong together; set both or neither of them.'
            )
        self.classes = read_classes(config.data.prepared)
        unet, scale_factor = start.load("unet", needed=not self.settings.train_unet)
        controlnet: ControlNet = start.build("controlnet")
        found = start.state("controlnet")
        if found is None:
            copy_matching(unet, controlnet)
            open_outputs(controlnet, self.settings.initial_output)
        else:
            controlnet.load_state_dict(found.state)
        embedding = controlnet.controlnet_cond_embedding.requires_grad_(not self.settings.frozen_embedding)
        embedding.to(memory_format=torch.channels_last_3d)  # a fifth faster on CPUs
        self.controlnet = controlnet.to(device)
        if self.settings.train_unet:
            self.unet = unet.to(device)
        else:
            self.keep_apart("unet", unet.to(device, self._frozen_dtype(device)))
        self.set_scale_factor(scale_factor, device)

    def _frozen_dtype(self, device: torch.device) -> torch.dtype:
        """On CUDA that of autocast, which then need not convert the weights at every step."""
        half = device.type == "cuda" and self.config.run.precision != "float32"
        return getattr(torch, self.config.run.precision) if half else torch.float32

    def averaged(self) -> dict[str, nn.Module]:
        both = {"unet": self.unet} if self.settings.train_unet else {}
        return {**both, "controlnet": self.controlnet}

    def forward(
        self, player: str, batch: Batch, generator: torch.Generator, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        contrastive = self.settings.contrastive
        early = progress.fraction < contrastive.switch_at
        share = contrastive.weight if early else contrastive.later_weight
        if contrastive.target == "pair":
            flow, difference = self._pair_losses(batch, generator)
            return flow + share * difference, {"flow": flow.detach(), "difference": difference.detach()}
        noisy = self.noisy(batch, generator)
        first = self._pass(noisy, batch["labels"], generator)
        flow = self._flow_loss(first.prediction, noisy.target, batch["labels"])
        if share == 0:
            return flow, {"flow": flow.detach()}
        inside, outside = self._contrast(first, noisy, batch)
        figures = {"flow": flow.detach(), "inside": inside.detach(), "outside": outside.detach()}
        return flow + share * (inside + outside), figures

    @torch.no_grad()
    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        if self.settings.contrastive.target == "pair":
            flow, difference = self._pair_losses(batch, generator, training=False)
            return {"score": (flow + difference).item(), "flow": flow.item(), "difference": difference.item()}
        noisy = self.noisy(batch, generator, dropout=False)
        first = self._pass(noisy, batch["labels"], None)
        flow = self._flow_loss(first.prediction, noisy.target, batch["labels"])
        inside, outside = self._contrast(first, noisy, batch)
        return {"score": flow.item(), "inside": inside.item(), "outside": outside.item()}

    def export(self, folder: Path) -> list[Path]:
        factors, networks = {"unet": self.scale_factor.item()}, self.averaged()
        return [write_weights(folder, role, net, factors.get(role), self.classes) for role, net in networks.items()]

    # ---- passes

    def _pass(self, noisy: Noisy, labels: Tensor, generator: torch.Generator | None) -> _Pass:
        with torch.set_grad_enabled(self.settings.train_unet and torch.is_grad_enabled()):
            embedding, skips = self.unet.down(noisy.x, noisy.times, noisy.conditions)
        features, kept = self._features(noisy, labels), self._kept(noisy, generator)
        prediction = self.unet.up(embedding, skips, self._residuals(features, kept))
        return _Pass(prediction, features, embedding, skips, kept)

    def _features(self, noisy: Noisy, labels: Tensor) -> list[Tensor]:
        if self.settings.frozen_embedding:
            with torch.no_grad():
                embedded = self._embed(labels)
        elif self.config.run.gradient_checkpointing or labels.numel() > KEPT_VOXELS:
            embedded = checkpoint(self._embed, labels, use_reentrant=False)  # its activations have the image's size
        else:
            embedded = self._embed(labels)
        return self.controlnet.features(noisy.x, noisy.times, embedded, noisy.conditions.modality)

    def _embed(self, labels: Tensor) -> Tensor:
        return self.controlnet.embed_mask(mask_bits(labels))

    def _kept(self, noisy: Noisy, generator: torch.Generator | None) -> Tensor | None:
        """1 for images with a label map, 0 for the share on which a UNet in training learns to do without."""
        if generator is None or not self.settings.train_unet:
            return None
        kept = torch.rand(len(noisy.x), generator=generator) >= self.settings.without_mask
        return kept.to(noisy.x).view(-1, 1, 1, 1, 1)

    def _residuals(self, features: list[Tensor], kept: Tensor | None) -> tuple[list[Tensor], Tensor]:
        down, middle = self.controlnet.residuals(features)
        return (down, middle) if kept is None else ([kept * residual for residual in down], kept * middle)

    # ---- losses

    def _flow_loss(self, prediction: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        settings = self.settings
        ids = settings.weighted_labels or LESIONS
        weight = lesion_weight(labels, ids, settings.lesion_weight, settings.lesion_sampling)
        pair = self.by_channel(prediction), self.by_channel(target)
        return prediction_loss(*pair, settings.loss, weight, settings.normalize_weights)

    def _contrast(self, first: _Pass, noisy: Noisy, batch: Batch) -> tuple[Tensor, Tensor]:
        """The parts inside and outside of the lesions. The UNet's first half is shared by both passes."""
        settings, labels, healed = self.settings.contrastive, batch["labels"], batch["healed"]
        truth = noisy.target if settings.target == "code" else None
        if truth is None and torch.equal(labels, healed):  # no lesions: both passes are the same
            return first.prediction.new_zeros(()).float(), first.prediction.new_zeros(()).float()
        regions = changed_regions(labels, healed, self.settings.lesion_sampling)
        features = self._features(noisy, healed)
        if noisy.x[0, 0].numel() > settings.feature_voxels:
            return feature_contrast(first.features, features, regions, settings.cap)
        second = self.unet.up(first.embedding, first.skips, self._residuals(features, first.kept))
        return region_contrast(first.prediction, second, regions, settings.cap, truth)

    def _pair_losses(self, batch: Batch, generator: torch.Generator, training: bool = True) -> tuple[Tensor, Tensor]:
        """Flow loss of both images of each pair, and loss of their difference; they share noise and time."""
        clean, labels = self.scaled(batch["latent"]), batch["labels"]
        times = self.process.times(clean[:, 0], generator).repeat_interleave(2)
        noise = torch.randn(clean[:, :1].shape, generator=generator).to(clean.device).expand_as(clean)
        target = self.process.target(clean, noise)
        x = self.process.add_noise(clean.flatten(0, 1), noise.flatten(0, 1), times)
        conditions = self.conditions(batch, generator, training)
        conditions = conditions._replace(
            **{name: v.repeat_interleave(2, 0) for name, v in conditions._asdict().items() if v is not None}
        )
        noisy = Noisy(x, times, target.flatten(0, 1), conditions)
        prediction = self._pass(noisy, labels.flatten(0, 1), generator if training else None).prediction
        target, prediction = self.by_channel(target), self.by_channel(prediction)
        changed = changed_regions(labels[:, 1], labels[:, 0], self.settings.lesion_sampling).inside
        weight = 1 + (self.settings.lesion_weight - 1) * changed
        both = weight.repeat_interleave(2, 0)
        normalized = self.settings.normalize_weights
        flow = prediction_loss(prediction, target.flatten(0, 1), self.settings.loss, both, normalized)
        return flow, pair_difference(prediction.view_as(clean), target, weight)


@torch.no_grad()
def copy_matching(unet: nn.Module, controlnet: nn.Module) -> int:
    """Copy tensors of the same name and shape into ``controlnet``; returns how many (180 of rflow's 231, FACTS 1.5)."""
    source, target = unet.state_dict(), controlnet.state_dict()
    shared = [name for name, tensor in target.items() if name in source and source[name].shape == tensor.shape]
    for name in shared:
        target[name].copy_(source[name])
    return len(shared)


@torch.no_grad()
def open_outputs(controlnet: ControlNet, spread: float) -> None:
    """Give the output convolutions, which begin at zero, normal weights of standard deviation ``spread``."""
    if spread:
        for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            nn.init.normal_(next(block.parameters()), std=spread)
