"""What all trainings on latents share: noise, times, conditions, the scale of the latents."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maisi.errors import InputError
from maisi.models.networks import COMPRESSION, Conditions, DiffusionUNet
from maisi.options import REGIONS
from maisi.sampling.conditions import SCALE
from maisi.train.config import TrainConfig
from maisi.train.losses.flow import NoiseProcess, noise_process
from maisi.train.prepared import read_settings
from maisi.train.stage import Batch
from maisi.train.stages.prepared_stage import PreparedStage
from maisi.train.stages.preview import sample_image
from maisi.train.stages.sections import DiffusionConfig
from maisi.train.stages.start import Start
from maisi.volume import ImageVolume

CT, MRI = 1, 8  # class labels of FACTS 2.3
_LAST_CT = 7


class Noisy(NamedTuple):
    """Latents on their way to noise: ``x`` ``[B, 4, i, j, k]`` at ``times`` ``[B]``, what to predict, conditions."""

    x: Tensor
    times: Tensor
    target: Tensor
    conditions: Conditions


class LatentStage(PreparedStage):
    """Base of the stages whose data are latents of images.

    Raises:
        InputError: the latents are those of another autoencoder than the configured one.
    """

    kind = "latent"
    settings: DiffusionConfig
    unet: DiffusionUNet
    scale_factor: Tensor
    channel_scale: Tensor

    def __init__(self, config: TrainConfig, start: Start) -> None:
        super().__init__(config, start)
        schedule = start.variant.schedule
        time_scale = schedule.time_scale if self.settings.times == "stretched" else None
        self.process: NoiseProcess = noise_process(schedule.kind, time_scale)
        scale, channels = self.settings.channel_scale, start.variant.latent_channels
        if scale and len(scale) != channels:
            raise InputError(f"{config.stage}.channel_scale has {len(scale)} numbers; the latents have {channels}.")
        self.register_buffer("channel_scale", torch.tensor(scale or 1.0).view(-1, 1, 1, 1), persistent=False)
        self.check_autoencoder()

    def check_autoencoder(self) -> None:
        """Raise InputError if another autoencoder than the configured one made the latents: images would be garbage."""
        if "autoencoder" not in self.start.weights:
            return
        from maisi.train.prepare.latents import checksum_of

        made_by = read_settings(self.config.data.prepared).autoencoder
        if made_by and made_by["sha256"] != checksum_of(self.start.frozen("autoencoder", torch.device("cpu"))):
            raise InputError(
                f"The latents in {self.config.data.prepared} were made with another autoencoder ({made_by['name']}); "
                "prepare the data set again with that of network.weights.autoencoder, or name the right one there."
            )

    def set_scale_factor(self, known: float | None, device: torch.device) -> None:
        """Keep the factor in the checkpoint: as configured, else ``known``, else the data set's, else measured."""
        wanted = self.settings.scale_factor
        factor = known if wanted == "auto" else wanted
        if factor is None:
            factor = read_settings(self.config.data.prepared).scale_factor
        if factor is None:
            # Every process looks at the same batches, so all come to the same number.
            some = islice(self.batches(0, 1), self.settings.scale_batches)
            factor = 1 / standard_deviation(batch["latent"] for batch in some)
        self.register_buffer("scale_factor", torch.tensor(float(factor), device=device))

    def preview(self, generator: torch.Generator) -> dict[str, ImageVolume]:
        """An image of the first held-out conditions; none where the configuration names no autoencoder."""
        batch = next(iter(self.validation(0, 1)), None)
        if batch is None or "autoencoder" not in self.start.weights:
            return {}
        device, networks = self.scale_factor.device, {**self.averaged(), "unet": self.unet}
        autoencoder = self.start.frozen("autoencoder", device)
        batch = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in batch.items()}
        parts = self.start, autoencoder, self.unet, networks.get("controlnet"), self.scale_factor.item()
        return {"sample": sample_image(*parts, batch, seed=int(torch.randint(2**31, (1,), generator=generator)))}

    def scaled(self, latent: Tensor) -> Tensor:
        """Latents of the autoencoder, ``[..., i, j, k]``, as the UNet sees them.

        Raises:
            InputError: sizes that the UNet cannot halve at each of its levels.
        """
        multiple = 2 ** (len(self.start.sizes["unet"]["num_channels"]) - 1)
        if any(size % multiple for size in latent.shape[-3:]):
            raise InputError(
                f"Latents of {tuple(latent.shape[-3:])} do not fit the UNet, which needs multiples of {multiple}; set "
                f"data.crop so, or prepare the data with --multiple {COMPRESSION * multiple}."
            )
        return latent.float() * self.scale_factor

    def noisy(self, batch: Batch, generator: torch.Generator, dropout: bool = True) -> Noisy:
        """``batch["latent"]`` ``[B, 4, i, j, k]`` with noise."""
        clean = self.scaled(batch["latent"])
        times = self.process.times(clean, generator)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        x = self.process.add_noise(clean, noise, times)
        return Noisy(x, times, self.process.target(clean, noise), self.conditions(batch, generator, dropout))

    def by_channel(self, velocity: Tensor) -> Tensor:
        """A prediction or a target ``[..., C, i, j, k]`` in the units in which errors count."""
        return velocity * self.channel_scale

    def conditions(self, batch: Batch, generator: torch.Generator, dropout: bool = True) -> Conditions:
        """Spacing, and those of modality and body regions that the UNet takes."""
        sizes = self.start.sizes["unet"]
        top = bottom = modality = None
        if sizes.get("include_top_region_index_input"):
            top, bottom = (SCALE * F.one_hot(batch["region"].long(), len(REGIONS)).float()).unbind(1)
        if sizes.get("num_class_embeds"):
            modality = batch["modality"].long()
            if dropout:
                shares = self.settings.contrast_dropout, self.settings.modality_dropout
                modality = forget_modality(modality, *shares, generator)
        return Conditions(SCALE * batch["spacing"].float(), modality, top, bottom)


def forget_modality(modality: Tensor, contrast: float, whole: float, generator: torch.Generator) -> Tensor:
    """Codes ``[B]`` with some contrasts replaced by CT or MRI, and then some by 0, unknown (FACTS 5.3).

    Args:
        contrast, whole: the two chances.
    """
    draws = torch.rand((2, len(modality)), generator=generator).to(modality.device)
    plain = torch.where(modality > MRI, MRI, torch.where((modality > CT) & (modality <= _LAST_CT), CT, modality))
    modality = torch.where(draws[0] < contrast, plain, modality)
    return torch.where(draws[1] < whole, 0, modality)


def standard_deviation(tensors: Iterable[Tensor]) -> float:
    """Of all values of ``tensors`` together, in double precision."""
    count, total, squares = 0, 0.0, 0.0
    for tensor in tensors:
        values = tensor.double()
        count, total, squares = count + values.numel(), total + float(values.sum()), squares + float((values**2).sum())
    return max(squares / count - (total / count) ** 2, 1e-12) ** 0.5
