"""A segmentation network of the user's that finds lesions in an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer

from maisi.checks.fidelity import Segment
from maisi.devices import resolve_device
from maisi.errors import InputError
from maisi.geometry import closest_axes
from maisi.models.checksums import sha256_of
from maisi.models.features import is_torchscript
from maisi.volume import ImageVolume


class Segmenter:
    """A TorchScript network: ``[1, 1, I, J, K]`` -> ``[1, C, I, J, K]``, axes right, anterior, superior.

    Its input is HU from ``window`` scaled to 0...1, on the image's own voxels. With one channel, what is above 0 is
    lesion; with several, where the channel ``lesion`` is the largest.

    Raises:
        InputError: the file is missing or is no TorchScript network, or fails.
    """

    def __init__(
        self,
        path: Path,
        lesion: int = 1,
        window: tuple[float, float] = (-1000.0, 1000.0),
        size: int = 96,
        device: str = "auto",
    ) -> None:
        if not path.is_file() or not is_torchscript(path):
            raise InputError(f"{path} is not a TorchScript network; save one with torch.jit.save.")
        if not window[0] < window[1]:
            raise InputError(f"The window must go from a lower to a higher HU, got {window[0]:g} to {window[1]:g}.")
        self.name = f"{path.stem} ({sha256_of(path)[:8]})"
        self._device, self._lesion, self._window = resolve_device(device), lesion, window
        self._network = torch.jit.load(path, map_location=self._device).eval()
        self._inferer = SlidingWindowInferer((size,) * 3, overlap=0.25, mode="gaussian")

    def __call__(self, image: ImageVolume) -> Segment:
        """What the network takes for a lesion in ``image``, for any part of it."""
        order, flips = closest_axes(image.affine)
        oriented = np.flip(image.array.transpose(order), flips)
        found = np.flip(self._segment(oriented), flips).transpose(np.argsort(order))
        return lambda box: found[box]

    @torch.inference_mode()
    def _segment(self, hu: np.ndarray) -> np.ndarray:
        low, high = self._window
        unit = (np.clip(hu, low, high).astype(np.float32) - low) / (high - low)
        given = torch.from_numpy(unit.copy())[None, None].to(self._device)
        try:
            scores = self._inferer(given, self._network)[0]
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1].rstrip(".")
            raise InputError(f"The segmenter {self.name} fails on {tuple(given.shape)}: {last}.") from error
        if len(scores) > 1 and not 0 <= self._lesion < len(scores):
            raise InputError(f"The segmenter {self.name} has {len(scores)} classes; there is no class {self._lesion}.")
        found = scores[0] > 0 if len(scores) == 1 else scores.argmax(0) == self._lesion
        return found.cpu().numpy()
