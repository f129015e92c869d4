"""Decoding as the reference does it: at once, or in overlapping windows that normalize by themselves (FACTS 2.6, 2.7).

It costs more and shows the windows' own statistics; it is here for images equal to the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from maisi.decoding import AIR_HU, background
from maisi.models.weights import Networks
from maisi.volume import ImageVolume, LabelVolume


@dataclass(frozen=True)
class Window:
    """The window of the reference's decoder.

    Attributes:
        size: latent voxels along I, J, K; reduced to the latents' where they are smaller.
        overlap: of neighbors, as a fraction.
    """

    size: tuple[int, int, int]
    overlap: float

    def is_direct(self, shape: Sequence[int]) -> bool:
        """Whether latents ``[i, j, k]`` are decoded at once: their number of voxels counts, not each axis."""
        return prod(shape) <= prod(self.size)

    def places(self, shape: Sequence[int]) -> list[tuple[slice, ...]]:
        """The windows of latents ``[i, j, k]``."""
        if self.is_direct(shape):
            return [tuple(slice(0, n) for n in shape)]
        size = self._reduced(shape)
        interval = [w if w == n else int(w * (1 - self.overlap)) for w, n in zip(size, shape, strict=True)]
        return dense_patch_slices(shape, size, interval)

    def redundancy(self, shape: Sequence[int]) -> float:
        """Voxels decoded for each voxel of latents ``[i, j, k]``."""
        return sum(prod(s.stop - s.start for s in place) for place in self.places(shape)) / prod(shape)

    def inferer(self, shape: Sequence[int], compute: torch.device, stitch: torch.device) -> SlidingWindowInferer:
        """MONAI's inferer for latents ``[i, j, k]``."""
        return SlidingWindowInferer(
            roi_size=self._reduced(shape),
            sw_batch_size=1,
            overlap=self.overlap,
            mode="gaussian",
            sigma_scale=0.125,
            sw_device=compute,
            device=stitch,
            progress=False,
        )

    def _reduced(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(min(w, n) for w, n in zip(self.size, shape, strict=True))


FROM_MASK = Window((48, 48, 48), 0.6666)  # of config_infer.json; its presets for some GPUs have others (FACTS 7.4)
IMAGE_ONLY = Window((80, 80, 80), 0.4)


@torch.inference_mode()
def decode_compatible(
    networks: Networks,
    latents: Tensor,
    labels: LabelVolume | None = None,
    *,
    affine: np.ndarray | None = None,
    window: Window | None = None,
) -> ImageVolume:
    """The reference's image of ``latents``, neither rounded nor in tiles of our own.

    Args:
        latents: ``[1, 4, i, j, k]``, divided by the scale factor, in the dtype that the reference stitches in (half on
            CUDA). labels: on the model grid; None: an image without a mask. affine: of an image without labels.
        window: None: :data:`FROM_MASK`, :data:`IMAGE_ONLY` without labels.

    Returns:
        From a mask float32, stitched on the CPU in the dtype of ``latents``. Without one int16, truncated towards zero;
        stitched on the device in float32.
    """
    window = window or (IMAGE_ONLY if labels is None else FROM_MASK)
    device, shape, is_ct = networks.device, latents.shape[2:], networks.variant.image == "ct"
    with torch.autocast("cuda", dtype=torch.float16, enabled=device.type == "cuda"):
        if window.is_direct(shape):
            image = networks.autoencoder.decode_stage_2_outputs(latents)
        else:
            stitch = device if labels is None else torch.device("cpu")
            given = latents.float() if labels is None else latents
            inferer = window.inferer(shape, compute=device, stitch=stitch)
            image = inferer(inputs=given, network=networks.autoencoder.decode_stage_2_outputs)
    image = image[0, 0].cpu()
    if labels is None:
        image = image * 2000 - 1000 if is_ct else image * 1000
        image = image.clip(AIR_HU, 1000) if is_ct else image.clip(min=0)
        return ImageVolume(image.to(torch.int16).numpy(), affine)
    image = image.clip(0, 1) * 2000 - 1000 if is_ct else image.clip(min=0) * 1000
    image[torch.from_numpy(np.ascontiguousarray(labels.array)) == 0] = background(networks.variant)
    return ImageVolume(image.float().numpy(), labels.affine)
