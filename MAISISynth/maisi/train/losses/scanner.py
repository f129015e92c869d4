"""The scanner's noise (see ``maisi.scanner_noise``) on what an autoencoder makes, for the judges of its realism."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maisi.models.intensity import IntensityScale
from maisi.scanner_noise import ScannerNoise

SPREAD = (0.7, 1.3)  # scans differ in dose


def as_scanned(unit: Tensor, noise: ScannerNoise, intensity: IntensityScale, generator: torch.Generator) -> Tensor:
    """Images ``[B, 1, I, J, K]`` in the network's range with fresh noise, of 0.7 to 1.3 times the usual strength.

    Args:
        generator: of the CPU.
    """
    offsets = torch.arange(-1.0, 2.0)
    taps = torch.exp(-0.5 * (offsets / noise.blur) ** 2)
    kernel = torch.einsum("i,j,k->ijk", taps, taps, taps)
    white = torch.randn(unit.shape, generator=generator)
    field = F.conv3d(white, (kernel / kernel.norm())[None, None], padding=1)
    low, high = SPREAD
    strength = noise.hu * (low + (high - low) * torch.rand((len(unit), 1, 1, 1, 1), generator=generator))
    return intensity.to_unit(intensity.to_hu(unit) + (strength * field).to(unit.device))
