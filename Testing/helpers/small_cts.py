"""Small CTs and networks in files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from maisi.files import write_volume
from maisi.masks.noise import smooth_noise
from maisi.volume import ImageVolume

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def write_ct(path: Path, hu: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """A CT file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, ImageVolume(np.rint(hu).astype(np.int16), affine))
    return path


def noise_ct(seed: int, shape=(24, 20, 16), mean: float = 0.0) -> np.ndarray:
    """HU of smooth noise; the same seed, the same noise."""
    rng = np.random.default_rng(seed)
    return np.clip(mean + 200 * smooth_noise(shape, np.full(3, 3.0), 9.0, rng), -1000, 1000)


def write_torchscript(path: Path, network: nn.Module) -> Path:
    """A network as people save it today; torch calls the format deprecated, but still reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network), path)
    return path
