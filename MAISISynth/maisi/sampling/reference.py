"""What the reference does in its own way; needed to give its image for its seed (FACTS appendix C)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiGroupNorm3D
from monai.networks.blocks.selfattention import SABlock
from scipy import ndimage

from maisi.models.networks import build_networks
from maisi.models.weights import Networks

_LOBES = (28, 29, 30, 31, 32)
_LUNG_TUMOR = 23
_HOSTS = {26: 1, 24: 4, 27: 62, 116: 14, 117: 5}


@contextmanager
def reference_randomness(seed: int, networks: dict[str, Any]) -> Iterator[None]:
    """Torch's global CPU generator as the reference has it when it draws its noise; afterwards as it was.

    The reference seeds first and then constructs its networks on the CPU, which draws random numbers (FACTS 2.16).
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed % 2**32)
        build_networks(networks)
        yield


def remove_tumors_like_reference(labels: np.ndarray) -> np.ndarray:
    """The reference's tumor-free mask (FACTS 2.5): bone lesions (128) and kidney tumors (129) stay.

    A lung tumor becomes the most frequent lobe within one voxel of it, else the most frequent lobe of the volume.
    ``maisi.labels.remove_lesions`` is the better way.
    """
    result = labels.copy()
    for tumor, host in _HOSTS.items():
        result[labels == tumor] = host
    tumor = labels == _LUNG_TUMOR
    if tumor.any():
        ring = ndimage.binary_dilation(tumor, np.ones((3, 3, 3)), border_value=1) & ~tumor
        for region in (labels[ring], labels.ravel()):
            counts = np.bincount(region, minlength=256)[list(_LOBES)]
            if counts.any():
                result[tumor] = _LOBES[int(counts.argmax())]
                break
    return result


def as_reference(networks: Networks) -> Networks:
    """Networks, freshly loaded, set up as the reference runs them; in place."""
    for network in (networks.autoencoder, networks.unet, networks.controlnet):
        if network is None:
            continue
        network.requires_grad_(True)  # torch chooses another order of sums in linear layers without it
        if networks.device.type == "cuda":  # under autocast; these need a GPU
            for module in network.modules():
                if isinstance(module, SABlock):
                    module.use_flash_attention = True
                elif isinstance(module, MaisiGroupNorm3D):
                    module.norm_float16 = True
    return networks
