"""The mask generator's two networks (FACTS 1.6): label maps <-> latents, and the diffusion of those latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor

from maisi.labels import BODY, LABELS
from maisi.models.networks import LATENT_CHANNELS, MASK_BITS

# The ids that the 125 classes stand for, in their order (FACTS appendix A). Kidney cysts have none.
_LEFT_OUT = (2, 16, 18, 20, 21, 116, 117, 130, 131)
CLASS_IDS = (*(i for i in range(133) if i not in _LEFT_OUT), BODY)
SIZES = 10  # organ sizes that the diffusion is told

MASK_NETWORKS: dict[str, dict[str, Any]] = {
    "mask_autoencoder": {"num_channels": [32, 64, 128], "num_res_blocks": [1, 2, 2], "norm_num_groups": 32},
    "mask_unet": {
        "channels": [64, 128, 256, 512],
        "attention_levels": [False, False, True, True],
        "num_head_channels": [0, 0, 32, 32],
        "num_res_blocks": 2,
        "norm_num_groups": 32,
    },
}


class MaskAutoencoder(AutoencoderKlMaisi):
    """Bit planes of a label map ``[B, 8, 4i, 4j, 4k]`` -> latents ``[B, 4, i, j, k]`` -> logits ``[B, 125, ...]``."""

    def __init__(self, **config: Any) -> None:
        super().__init__(
            spatial_dims=3,
            in_channels=MASK_BITS,
            out_channels=len(CLASS_IDS),
            latent_channels=LATENT_CHANNELS,
            attention_levels=[False] * len(config["num_channels"]),
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            norm_eps=1e-6,
            use_checkpointing=False,
            use_convtranspose=True,
            norm_float16=False,
            num_splits=1,
            save_mem=False,
            **config,
        )


class MaskDiffusionUNet(DiffusionModelUNet):
    """Noise in latents of label maps, told the sizes of ten organs through cross-attention, ``[B, 1, 10]``."""

    def __init__(self, **config: Any) -> None:
        super().__init__(
            spatial_dims=3,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            with_conditioning=True,
            cross_attention_dim=SIZES,
            upcast_attention=True,
            use_flash_attention=False,
            **config,
        )


def _class_table() -> np.ndarray:
    """Id -> class for all 256 ids: a lesion without a class counts as its host, any other id as body."""
    table = np.full(256, CLASS_IDS.index(BODY), np.int64)
    for id_, label in LABELS.items():
        if label.hosts and label.hosts[0] in CLASS_IDS:
            table[id_] = CLASS_IDS.index(label.hosts[0])
    for class_, id_ in enumerate(CLASS_IDS):
        table[id_] = class_
    return table


def classes_of(labels: Tensor) -> Tensor:
    """Ids, uint8 of any shape -> classes 0-124, int64 of that shape."""
    return torch.from_numpy(_class_table()).to(labels.device)[labels.long()]


def ids_of(classes: Tensor) -> Tensor:
    """Classes 0-124, int64 of any shape -> ids, uint8 of that shape."""
    return torch.tensor(CLASS_IDS, dtype=torch.uint8, device=classes.device)[classes]
