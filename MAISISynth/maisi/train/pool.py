"""What trainings draw from: files that appear in a folder while earlier stages still run, and real CTs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from scipy import ndimage

from maisi.errors import InputError
from maisi.files import read_image
from maisi.train.cases import Case, read_case
from maisi.train.latents import LatentCase, read_latents

T = TypeVar("T")


class Pool(Generic[T]):
    """Files of a folder, kept in memory; looks for new ones every ``refresh`` draws."""

    def __init__(self, folder: Path, pattern: str, read: Callable[[Path], T], refresh: int = 100) -> None:
        self.folder, self.pattern, self.read, self.refresh = folder, pattern, read, refresh
        self.draws, self.items = 0, {}
        self._look()

    def draw(self, rng: np.random.Generator) -> T:
        """A random item."""
        self.draws += 1
        if self.draws % self.refresh == 0:
            self._look()
        return self.items[sorted(self.items)[rng.integers(len(self.items))]]

    def _look(self) -> None:
        for path in self.folder.glob(self.pattern):
            if path.name not in self.items:
                self.items[path.name] = self.read(path)
        if not self.items:
            raise InputError(f"There is nothing to train on in {self.folder}; run the earlier stages first.")


def case_pool(folder: Path) -> Pool[Case]:
    """Rendered cases of a folder."""
    return Pool(folder, "case_??????.npz", read_case)


def latent_pool(folder: Path) -> Pool[LatentCase]:
    """Encoded cases of a folder."""
    return Pool(folder, "case_??????.pt", read_latents)


def load_real(folder: Path, spacings: tuple[float, ...] = (2.2, 3.0)) -> list[np.ndarray]:
    """Every ``ct.nii.gz`` below ``folder``, resampled to isotropic voxels of each of ``spacings`` mm: int16 HU."""
    images = []
    for path in sorted(folder.rglob("ct.nii.gz")):
        image = read_image(path)
        for spacing in spacings:
            factor = image.spacing / spacing
            smooth = ndimage.gaussian_filter(image.array.astype(np.float32), 0.5 * (1 / factor - 1).clip(0))
            images.append(np.rint(ndimage.zoom(smooth, factor, order=1)).astype(np.int16))
    return images


def random_patch(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A cube of ``size`` voxels from HU ``[I, J, K]``, randomly mirrored; air where the image is too small."""
    lack = [max(0, size - n) for n in image.shape]
    if any(lack):
        image = np.pad(image, [(n // 2, n - n // 2) for n in lack], constant_values=-1000)
    corner = [rng.integers(n - size + 1) for n in image.shape]
    patch = image[tuple(slice(c, c + size) for c in corner)]
    return patch[tuple(slice(None, None, rng.choice([-1, 1])) for _ in range(3))]
