"""HU <-> the network's 0...1 range: linear for the released weights, companded for the embedded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class IntensityScale:
    """A piecewise linear, strictly increasing map.

    Attributes:
        hu: knots in HU (for MR, in image units), increasing. unit: the same knots in 0...1.
        unbounded: values beyond the last knot go on along the last slope (MR, FACTS 2.7) instead of being clipped;
            those before the first are always clipped.
    """

    hu: tuple[float, ...] = (-1000.0, 1000.0)
    unit: tuple[float, ...] = (0.0, 1.0)
    unbounded: bool = False

    def to_unit(self, hu: Tensor) -> Tensor:
        """HU of any shape -> 0...1, same shape, float32."""
        return _interpolate(hu.float(), self.hu, self.unit, self.unbounded)

    def to_hu(self, unit: Tensor) -> Tensor:
        """0...1 of any shape -> HU, same shape, float32."""
        return _interpolate(unit.float(), self.unit, self.hu, self.unbounded)


def _interpolate(x: Tensor, xs: tuple[float, ...], ys: tuple[float, ...], unbounded: bool) -> Tensor:
    import torch  # here, since the application reads model cards without torch

    slopes = np.diff(ys) / np.diff(xs)
    ends = [*xs[1:-1], float("inf") if unbounded else xs[-1]]
    x = x.clamp(xs[0], ends[-1])
    y = torch.full_like(x, ys[0])
    for start, stop, slope in zip(xs[:-1], ends, slopes, strict=True):
        y += float(slope) * (x.clamp(start, stop) - start)
    return y
