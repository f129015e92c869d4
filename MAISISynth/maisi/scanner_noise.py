"""The noise of the scanner, added to an image after it was decoded.

A decoder turns four latents into 64 voxels and has nothing to make independent noise from; networks trained on noisy
CT therefore show anatomy as if it had been averaged over many scans. The noise of a scan does not depend on the anatomy
but on chance alone, so it needs no network. The same seed gives the same noise at each voxel, so that local edits
and comparisons before and after change nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from maisi.labels import BACKGROUND
from maisi.volume import ImageVolume

_STREAM = 7_301_001  # keeps these numbers apart from others of the same seed


@dataclass(frozen=True)
class ScannerNoise:
    """How strong it is, and how alike neighbors are.

    Attributes:
        hu: standard deviation in HU. blur: of the Gaussian that white noise is blurred with, in voxels of the model;
            0.45 makes neighbors correlate by 0.17, as in real scans at 3 mm.
    """

    hu: float
    blur: float = 0.45

    def field(self, shape: tuple[int, int, int], seed: int) -> np.ndarray:
        """float32 HU ``[I, J, K]`` on the model grid; follows from ``shape`` and ``seed`` alone."""
        white = np.random.default_rng((seed, _STREAM)).standard_normal(shape, np.float32)
        noise = ndimage.gaussian_filter(white, self.blur, mode="wrap")
        return noise * np.float32(self.hu / noise.std())


def add_noise(image: ImageVolume, labels: np.ndarray | None, noise: ScannerNoise, seed: int) -> ImageVolume:
    """``image`` on the model grid with noise wherever ``labels`` (None: everywhere) show the patient; int16."""
    values = image.array + noise.field(image.shape, seed)
    if labels is not None:
        values = np.where(labels == BACKGROUND, image.array, values)
    return ImageVolume(np.rint(values).astype(np.int16), image.affine)
