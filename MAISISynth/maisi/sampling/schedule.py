"""Time grids of rectified flow: 1000 is noise, 0 is data (FACTS 1.7)."""

from __future__ import annotations

import numpy as np

TRAIN_STEPS = 1000
_BASE_LATENT_VOXELS = 32**3


def rectified_flow_times(steps: int, latent_voxels: int, time_scale: float | str = "volume") -> list[float]:
    """``steps + 1`` times from 1000 down to 0, denser near noise the larger the volume.

    Args:
        steps: number of network evaluations.
        latent_voxels: of the volume to be made; sets the transform when ``time_scale`` is "volume".
        time_scale: ratio of the transform u' = r u / (1 + (r - 1) u), or "volume" for r = (voxels / 32^3)^(1/3).
    """
    ratio = (latent_voxels / _BASE_LATENT_VOXELS) ** (1 / 3) if time_scale == "volume" else float(time_scale)
    u = 1 - np.arange(steps + 1) / steps
    return [float(t) for t in TRAIN_STEPS * ratio * u / (1 + (ratio - 1) * u)]
