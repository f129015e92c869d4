"""HU <-> the network's 0...1 range: linear for the released weights, companded for the embedded model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class IntensityScale:
    """A piecewise linear, strictly increasing map.

    Attributes:
        hu: knots in HU, increasing. unit: the same knots in 0...1. Outside the knots values are clipped.
    """

    hu: tuple[float, ...] = (-1000.0, 1000.0)
    unit: tuple[float, ...] = (0.0, 1.0)

    def to_unit(self, hu: Tensor) -> Tensor:
        """HU of any shape -> 0...1, same shape, float32."""
        return _interpolate(hu.float(), self.hu, self.unit)

    def to_hu(self, unit: Tensor) -> Tensor:
        """0...1 of any shape -> HU, same shape, float32."""
        return _interpolate(unit.float(), self.unit, self.hu)


def _interpolate(x: Tensor, xs: tuple[float, ...], ys: tuple[float, ...]) -> Tensor:
    slopes = np.diff(ys) / np.diff(xs)
    x = x.clamp(xs[0], xs[-1])
    y = torch.full_like(x, ys[0])
    for start, stop, slope in zip(xs[:-1], xs[1:], slopes, strict=True):
        y += float(slope) * (x.clamp(start, stop) - start)
    return y
