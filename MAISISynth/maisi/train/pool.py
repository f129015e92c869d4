"""What trainings draw from: rendered cases that appear in a folder, and real CTs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from maisi.errors import InputError
from maisi.files import read_image
from maisi.train.cases import Case, read_case


class CasePool:
    """Cases of a folder, kept in memory; looks for new ones every ``refresh`` draws."""

    def __init__(self, folder: Path, refresh: int = 100) -> None:
        self.folder, self.refresh, self.draws = folder, refresh, 0
        self.cases: dict[str, Case] = {}
        self._look()

    def draw(self, rng: np.random.Generator) -> Case:
        """A random case."""
        self.draws += 1
        if self.draws % self.refresh == 0:
            self._look()
        return self.cases[sorted(self.cases)[rng.integers(len(self.cases))]]

    def _look(self) -> None:
        for path in sorted(self.folder.glob("case_*.npz")):
            if path.name not in self.cases and ".part" not in path.name:
                self.cases[path.name] = read_case(path)
        if not self.cases:
            raise InputError(f"There are no training cases in {self.folder}; run `python -m maisi.train cases` first.")


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
