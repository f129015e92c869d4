"""The image autoencoder, a VAE-GAN (FACTS 5.2).

The paper's patch curriculum is two runs: one with patches of 64 voxels, and one with 128 that starts from its weights.
"""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from monai.losses import PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from maisi.models.checkpoint import check_fit, read_checkpoint
from maisi.models.networks import Autoencoder
from maisi.train.config import TrainConfig
from maisi.train.losses.perceptual import PerceptualLoss
from maisi.train.losses.scanner import as_scanned
from maisi.train.losses.vae import edge_error, kl_divergence, reconstruction_error, window_error
from maisi.train.stage import Batch, Progress
from maisi.train.stages.prepared_stage import PreparedStage
from maisi.train.stages.sections import AutoencoderConfig
from maisi.train.stages.start import WEIGHTS, Start, write_weights
from maisi.volume import ImageVolume

_NETWORK, _DISCRIMINATOR = "network", "discriminator"
_PATCHES = 16  # batches that a "haar" beginning is scaled with


class AutoencoderStage(PreparedStage):
    """Batches hold "image" ``[B, 1, I, J, K]`` in the network's range.

    Raises:
        InputError: see :class:`Start`; the perceptual network is not there.
    """

    kind = "image"
    settings: AutoencoderConfig

    def __init__(self, config: TrainConfig, start: Start, device: torch.device) -> None:
        super().__init__(config, start)
        self.autoencoder = self._beginning().to(device)
        if self.settings.freeze == "encoder":
            for part in (self.autoencoder.encoder, *_heads(self.autoencoder)):
                part.requires_grad_(False)
        self._made: tuple[Batch, Tensor] | None = None
        if self.settings.adversarial_weight:
            self.players = (_NETWORK, _DISCRIMINATOR)
            self.discriminator = self._opponent().to(device)
            self._realism = PatchAdversarialLoss(criterion="least_squares")
        if self.settings.perceptual_weight:
            perceptual = PerceptualLoss(self.settings.perceptual_network, self.settings.perceptual_share)
            self.keep_apart("_perceptual", perceptual.to(device))

    def _beginning(self) -> Autoencoder:
        settings, found = self.settings, self.start.state("autoencoder")
        network: Autoencoder = self.start.build("autoencoder")
        if found is not None:
            network.load_state_dict(found.state)
        elif settings.initialization == "haar":
            from maisi.train.embedded.haar import begin_as_filter_bank

            patches = [batch["image"] for batch in islice(self.batches(0, 1), _PATCHES)]
            begin_as_filter_bank(network, torch.cat(patches))
        if settings.initial_sigma:
            begin_with_sigma(network, settings.initial_sigma)
        return network

    def _opponent(self) -> PatchDiscriminator:
        """A new discriminator, or that of the run whose autoencoder this one goes on with."""
        network = _discriminator(self.settings)
        known = Path(self.start.weights.get("autoencoder", "")) / WEIGHTS / f"{_DISCRIMINATOR}.safetensors"
        if known.is_file():
            state = read_checkpoint(known).state
            check_fit(state, network.state_dict(), known, "discriminator of this configuration")
            network.load_state_dict(state)
        return network

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        return list(self.discriminator.parameters()) if player == _DISCRIMINATOR else super().parameters_of(player)

    def averaged(self) -> dict[str, nn.Module]:
        return {"autoencoder": self.autoencoder}

    def forward(
        self, player: str, batch: Batch, generator: torch.Generator, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if player == _DISCRIMINATOR:
            return self._discriminator_loss(batch, generator)
        image, settings = batch["image"], self.settings
        mean, sigma, output = self._reconstruct(image, generator)
        seen = self._as_scanned(output, generator)
        self._made = batch, seen.detach()
        parts = self._fit(output, image, generator, seen)
        if settings.freeze == "none":
            parts["kl"] = settings.kl_weight, kl_divergence(mean, sigma)
        if settings.adversarial_weight and progress.fraction >= settings.adversarial_from:
            judged = self._judged(seen, real=True, by_discriminator=False)
            parts["adversarial"] = settings.adversarial_weight, judged
        figures = {name: value.detach() for name, (_, value) in parts.items()}
        return _weighted(parts), {**figures, "latent_std": mean.detach().float().std()}

    @torch.no_grad()
    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        image = batch["image"]
        mean, sigma = self.autoencoder.encode(image)
        output = self.autoencoder.decode(mean)
        parts = self._fit(output, image, generator, self._as_scanned(output, generator))
        parts["kl"] = self.settings.kl_weight, kl_divergence(mean, sigma)
        psnr = -10 * math.log10(max(reconstruction_error(output, image, "l2").item(), 1e-12))
        figures = {name: value.item() for name, (_, value) in parts.items()}
        return {**figures, "score": _weighted(parts).item(), "psnr": psnr, "latent_std": mean.float().std().item()}

    def preview(self, generator: torch.Generator) -> dict[str, ImageVolume]:
        """The first held-out image, and what the network makes of it."""
        batch = next(iter(self.validation(0, 1)), None)
        if batch is None:
            return {}
        image = batch["image"][:1].to(next(self.autoencoder.parameters()).device)
        output = self.autoencoder.decode(self.autoencoder.encode(image)[0])
        return {name: self._volume(x) for name, x in (("original", image), ("reconstruction", output))}

    def _volume(self, image: Tensor) -> ImageVolume:
        array = self.start.variant.intensity.to_hu(image[0, 0]).round().to(torch.int16).cpu().numpy()
        return ImageVolume(array, np.eye(4))

    def export(self, folder: Path) -> list[Path]:
        networks = {"autoencoder": self.autoencoder}
        if self.settings.adversarial_weight:
            networks[_DISCRIMINATOR] = self.discriminator
        return [write_weights(folder, role, network) for role, network in networks.items()]

    def _reconstruct(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        with torch.set_grad_enabled(self.settings.freeze == "none" and torch.is_grad_enabled()):
            mean, sigma = self.autoencoder.encode(image)
            latents = mean + sigma * torch.randn(mean.shape, generator=generator).to(mean)
        return mean, sigma, self.autoencoder.decode(latents)

    def _as_scanned(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """What the judges of realism see: with the noise that the model adds to its images, if it does."""
        noise = self.start.variant.noise
        return as_scanned(output, noise, self.start.variant.intensity, generator) if noise else output

    def _fit(
        self, output: Tensor, image: Tensor, generator: torch.Generator, seen: Tensor | None = None
    ) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of the parts that compare images; ``seen``: ``output`` with the scanner's noise, if any."""
        settings = self.settings
        parts = {"reconstruction": (1.0, reconstruction_error(output, image, settings.reconstruction))}
        if settings.edge_weight:
            parts["edges"] = settings.edge_weight, edge_error(output, image)
        if settings.window_weight:
            low, high = self.start.variant.intensity.to_unit(torch.tensor(settings.window)).tolist()
            parts["window"] = settings.window_weight, window_error(output, image, low, high)
        if settings.perceptual_weight:
            parts["perceptual"] = (
                settings.perceptual_weight,
                self._perceptual(output if seen is None else seen, image, generator),
            )
        return parts

    def _discriminator_loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        if self._made is not None and self._made[0] is batch:
            output = self._made[1]
        else:
            with torch.no_grad():
                output = self._as_scanned(self._reconstruct(batch["image"], generator)[2], generator)
        loss = (self._judged(output, real=False) + self._judged(batch["image"], real=True)) / 2
        return loss, {}

    def _judged(self, image: Tensor, real: bool, by_discriminator: bool = True) -> Tensor:
        answer = self.discriminator(image)[-1].float()  # the last of its layers
        return self._realism(answer, target_is_real=real, for_discriminator=by_discriminator)


@torch.no_grad()
def begin_with_sigma(network: Autoencoder, sigma: float) -> None:
    """The standard deviation of the latents is ``sigma`` everywhere, until training changes it."""
    layer = network.quant_conv_log_sigma.conv  # gives the logarithm of the variance
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, 2 * math.log(sigma))


def _heads(network: Autoencoder) -> tuple[nn.Module, nn.Module]:
    return network.quant_conv_mu, network.quant_conv_log_sigma


def _discriminator(settings: AutoencoderConfig) -> PatchDiscriminator:
    return PatchDiscriminator(
        spatial_dims=3,
        channels=settings.discriminator_channels,
        in_channels=1,
        num_layers_d=settings.discriminator_layers,
        norm="INSTANCE",
    )


def _weighted(parts: dict[str, tuple[float, Tensor]]) -> Tensor:
    return torch.stack([weight * value for weight, value in parts.values()]).sum()
