"""Latents <-> images in HU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maisi.models.weights import Networks
from maisi.volume import ImageVolume, LabelVolume

AIR_HU = -1000


@torch.inference_mode()
def decode(networks: Networks, latents: Tensor, labels: LabelVolume) -> ImageVolume:
    """The CT of ``latents``; voxels of label 0 become air (FACTS 2.7).

    Args:
        latents: ``[1, 4, i, j, k]``. labels: on the model grid, ``[4i, 4j, 4k]``.

    Returns:
        int16 HU on the grid of ``labels``.
    """
    unit = networks.autoencoder.decode(latents)[0, 0]
    hu = networks.variant.intensity.to_hu(unit).round_().to(torch.int16).cpu().numpy()
    hu[labels.array == 0] = AIR_HU
    return ImageVolume(hu, labels.affine)


@torch.inference_mode()
def encode(networks: Networks, image: ImageVolume) -> Tensor:
    """Mean latents ``[1, 4, i, j, k]`` of an image ``[4i, 4j, 4k]`` in HU."""
    hu = torch.from_numpy(np.ascontiguousarray(image.array, dtype=np.float32))[None, None].to(networks.device)
    return networks.autoencoder.encode(networks.variant.intensity.to_unit(hu))[0]
