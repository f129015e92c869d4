"""The three networks, built from MONAI's MAISI classes; state-dict keys are MONAI's own.

What is ours: the mask embedding of the ControlNet is a separate call (it depends on the mask only, so it is computed
once per image instead of once per step), and ControlNet residuals are added out of place, so that UNet and ControlNet
can be trained together. The numbers are those of the MONAI classes (FACTS 1.3-1.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi, MaisiGroupNorm3D
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import Tensor, nn

LATENT_CHANNELS = 4
COMPRESSION = 4  # image voxels per latent voxel, along each axis
MASK_BITS = 8


def mask_bits(labels: Tensor) -> Tensor:
    """Label ids as bit planes, least significant first (FACTS 2.2).

    Args:
        labels: uint8 ``[B, 1, I, J, K]``.

    Returns:
        float32 ``[B, 8, I, J, K]`` of 0 and 1.
    """
    return torch.cat([(labels >> bit) & 1 for bit in range(MASK_BITS)], dim=1).float()


class Autoencoder(AutoencoderKlMaisi):
    """The VAE-GAN's autoencoder with a native group norm in place of MONAI's loop over groups (equal within 3e-6)."""

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
        for module in self.modules():
            if isinstance(module, MaisiGroupNorm3D):
                module.forward = nn.GroupNorm.forward.__get__(module)


class DiffusionUNet(DiffusionModelUNetMaisi):
    """Velocity network of latents ``[B, 4, i, j, k]``, conditioned on time (1000 = noise), spacing and modality."""

    def __init__(self, **config: Any) -> None:
        super().__init__(
            spatial_dims=3,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            include_spacing_input=True,
            include_top_region_index_input=False,
            include_bottom_region_index_input=False,
            use_flash_attention=False,
            **config,
        )

    def _apply_down_blocks(
        self, h: Tensor, emb: Tensor, context: Tensor | None, down_block_additional_residuals: Sequence[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        # The last skip tensor is also what enters the middle block, so its residual must reach both (FACTS 1.4).
        skips = [h]
        for block in self.down_blocks:
            h, new_skips = block(hidden_states=h, temb=emb, context=context)
            skips.extend(new_skips)
        if down_block_additional_residuals is not None:
            skips = [a + b for a, b in zip(skips, down_block_additional_residuals, strict=True)]
            h = skips[-1]
        return h, skips

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        spacing_tensor: Tensor,
        class_labels: Tensor,
        residuals: tuple[Sequence[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Velocity (data - noise) ``[B, 4, i, j, k]``.

        Args:
            x: noisy latents. timesteps: float ``[B]``, 0-1000. spacing_tensor: ``[B, 3]`` mm x 100.
            class_labels: int64 ``[B]`` modality codes. residuals: what :class:`ControlNet` returns.
        """
        down, middle = residuals if residuals is not None else (None, None)
        emb = self._get_time_and_class_embedding(x, timesteps, class_labels)
        emb = self._get_input_embeddings(emb, None, None, spacing_tensor)
        h, skips = self._apply_down_blocks(self.conv_in(x), emb, None, down)
        h = self.middle_block(h, emb, None)
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
        self, x: Tensor, timesteps: Tensor, mask_embedding: Tensor, class_labels: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Residuals for the UNet's skips and middle block.

        Args:
            x: noisy latents ``[B, 4, i, j, k]``. timesteps: float ``[B]``. mask_embedding: from :meth:`embed_mask`.
            class_labels: int64 ``[B]``.
        """
        emb = self._prepare_time_and_class_embedding(x, timesteps, class_labels)
        h = self._apply_initial_convolution(x) + mask_embedding
        skips, h = self._apply_down_blocks(emb, None, h)
        h = self._apply_mid_block(emb, None, h)
        return self._apply_controlnet_blocks(h, skips)


def build_networks(config: dict[str, dict[str, Any]]) -> tuple[Autoencoder, DiffusionUNet, ControlNet]:
    """The three networks of a variant, randomly initialised, in the reference's order (FACTS C.2).

    Args:
        config: keyword arguments under "autoencoder", "unet" and "controlnet".
    """
    return Autoencoder(**config["autoencoder"]), DiffusionUNet(**config["unet"]), ControlNet(**config["controlnet"])
