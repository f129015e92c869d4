"""The three networks, built from MONAI's MAISI classes; state-dict keys and numbers are MONAI's own (FACTS 1.3-1.5).

What is ours: the mask embedding of the ControlNet is a separate call (it depends on the mask only, so it is computed
once per image instead of once per step), and ControlNet residuals are added out of place, so that UNet and ControlNet
can be trained together. Neither changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import Tensor, nn

LATENT_CHANNELS = 4
COMPRESSION = 4  # image voxels per latent voxel, along each axis
MASK_BITS = 8


class Conditions(NamedTuple):
    """What the UNet is told beside latents, time and mask (FACTS 2.3); batch B.

    Attributes:
        spacing: ``[B, 3]`` mm x 100. modality: int64 ``[B]`` class labels, or None.
        top, bottom: ``[B, 4]`` one-hot first and last body region x 100, or None.
    """

    spacing: Tensor
    modality: Tensor | None = None
    top: Tensor | None = None
    bottom: Tensor | None = None


def mask_bits(labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Label ids as bit planes, least significant first (FACTS 2.2).

    Args:
        labels: uint8 ``[B, 1, I, J, K]``; shifted as bytes, so that no wider copy of the volume is made.

    Returns:
        ``[B, 8, I, J, K]`` of 0 and 1 in ``dtype``.
    """
    bits = torch.empty((labels.shape[0], MASK_BITS, *labels.shape[2:]), dtype=dtype, device=labels.device)
    for bit in range(MASK_BITS):
        bits[:, bit] = (labels[:, 0] >> bit) & 1
    return bits


class Autoencoder(AutoencoderKlMaisi):
    """The VAE-GAN's autoencoder: image 0...1 ``[B, 1, 4i, 4j, 4k]`` <-> latents ``[B, 4, i, j, k]``.

    Convolutions are not split (the numbers are the same, FACTS 1.3). ``encode`` returns mean and standard deviation.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            latent_channels=LATENT_CHANNELS,
            attention_levels=[False] * len(config["num_channels"]),
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            use_checkpointing=False,
            use_convtranspose=False,
            norm_float16=False,
            num_splits=1,
            save_mem=False,
            **config,
        )


class DiffusionUNet(DiffusionModelUNetMaisi):
    """Velocity (or noise) network of latents, conditioned on time (1000 = noise) and :class:`Conditions`."""

    def __init__(self, **config: Any) -> None:
        super().__init__(
            spatial_dims=3,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            include_spacing_input=True,
            use_flash_attention=False,
            **config,
        )

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        conditions: Conditions,
        residuals: tuple[Sequence[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Velocity (data - noise; for DDPM models the noise) ``[B, 4, i, j, k]``.

        Args:
            x: noisy latents ``[B, 4, i, j, k]``. timesteps: float ``[B]``, 0-1000.
            residuals: what :class:`ControlNet` returns, or None.
        """
        return self.up(*self.down(x, timesteps, conditions), residuals)

    def down(self, x: Tensor, timesteps: Tensor, conditions: Conditions) -> tuple[Tensor, list[Tensor]]:
        """The first half of :meth:`forward`, which no residual changes: condition embedding and skips, fine to coarse.

        Images that differ in their masks only can share it.
        """
        emb = self._get_time_and_class_embedding(x, timesteps, conditions.modality)
        emb = self._get_input_embeddings(emb, conditions.top, conditions.bottom, conditions.spacing)
        return emb, self._apply_down_blocks(self.conv_in(x), emb, None, None)[1]

    def up(
        self, emb: Tensor, skips: Sequence[Tensor], residuals: tuple[Sequence[Tensor], Tensor] | None = None
    ) -> Tensor:
        """The second half of :meth:`forward`: what :meth:`down` gave, and residuals -> velocity."""
        down, middle = residuals if residuals is not None else (None, None)
        # Out of place: the skips may be shared. The last one is also what enters the middle block, so its residual
        # must reach both (FACTS 1.4).
        skips = list(skips) if down is None else [a + b for a, b in zip(skips, down, strict=True)]
        h = self.middle_block(skips[-1], emb, None)
        if middle is not None:
            h = h + middle
        return self.out(self._apply_up_blocks(h, emb, None, skips))


class ControlNet(ControlNetMaisi):
    """Residuals for the UNet from latents, time, class and the embedded mask."""

    def __init__(self, **config: Any) -> None:
        super().__init__(
            spatial_dims=3,
            in_channels=LATENT_CHANNELS,
            conditioning_embedding_in_channels=MASK_BITS,
            use_flash_attention=False,
            use_checkpointing=False,
            **config,
        )

    def embed_mask(self, bits: Tensor) -> Tensor:
        """Mask embedding ``[B, C, i, j, k]`` of bit planes ``[B, 8, 4i, 4j, 4k]``; independent of time and latents."""
        return self.controlnet_cond_embedding(bits)

    def forward(
        self, x: Tensor, timesteps: Tensor, mask_embedding: Tensor, class_labels: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        """Residuals for the UNet's skips and middle block.

        Args:
            x: noisy latents ``[B, 4, i, j, k]``. timesteps: float ``[B]``. mask_embedding: from :meth:`embed_mask`.
            class_labels: int64 ``[B]``, or None for a network without classes.
        """
        return self.residuals(self.features(x, timesteps, mask_embedding, class_labels))

    def features(
        self, x: Tensor, timesteps: Tensor, mask_embedding: Tensor, class_labels: Tensor | None
    ) -> list[Tensor]:
        """The first part of :meth:`forward`: hidden states, fine to coarse, the middle block's last."""
        emb = self._prepare_time_and_class_embedding(x, timesteps, class_labels)
        h = self._apply_initial_convolution(x) + mask_embedding
        skips, h = self._apply_down_blocks(emb, None, h)
        return [*skips, self._apply_mid_block(emb, None, h)]

    def residuals(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The second part of :meth:`forward`: residuals from what :meth:`features` gave."""
        return self._apply_controlnet_blocks(features[-1], features[:-1])


CLASSES = {"autoencoder": Autoencoder, "unet": DiffusionUNet, "controlnet": ControlNet}


def build_networks(config: dict[str, dict[str, Any]]) -> dict[str, nn.Module]:
    """The networks of a variant by role, randomly initialised, in the reference's order (FACTS C.2).

    Args:
        config: keyword arguments under "autoencoder", "unet" and, where there is one, "controlnet".
    """
    return {role: network(**config[role]) for role, network in CLASSES.items() if role in config}
