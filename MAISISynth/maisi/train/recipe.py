"""What the embedded model is made of. The one place with its network sizes; the model card copies them."""

from __future__ import annotations

from typing import Any

from maisi.models.intensity import IntensityScale

# Soft tissue gets 55 % of the range: 2.75 times the resolution of a linear scale.
INTENSITY = IntensityScale(hu=(-1000.0, -150.0, 250.0, 1000.0), unit=(0.0, 0.2, 0.75, 1.0))

_LEVELS: dict[str, Any] = {
    "num_channels": [48, 64, 96],
    "num_res_blocks": 1,
    "attention_levels": [False, False, False],
    "num_head_channels": [0, 0, 32],  # the middle block has attention
    "norm_num_groups": 16,
    "num_class_embeds": 128,
    "resblock_updown": True,
    "include_fc": True,
}

NETWORKS: dict[str, dict[str, Any]] = {
    "autoencoder": {
        "num_channels": [16, 32, 64],
        "num_res_blocks": [1, 1, 1],
        "norm_num_groups": 2,  # many channels a group, or absolute HU is lost
        "norm_eps": 1e-6,
    },
    "unet": _LEVELS,
    "controlnet": {**_LEVELS, "conditioning_embedding_num_channels": [16, 32, 64]},
}

GRID: dict[str, Any] = {
    "spacing_min": [2.0, 2.0, 2.0],
    "spacing_max": [4.5, 4.5, 5.0],
    "multiple": 16,
    "min_size": 32,
    "max_size": 512,
    "recommended_fov_min_mm": 120.0,
    "recommended_fov_max_mm": 600.0,
    "max_voxels": 256**3,
}
