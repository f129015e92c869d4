"""The slices of a volume in three planes, as the 2.5D FID looks at them (FACTS 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from maisi.errors import InputError
from maisi.geometry import AIR_HU, SAME_SPACING, closest_axes
from maisi.resampling import linear
from maisi.volume import ImageVolume

PLANES = {"xy": 2, "yz": 0, "zx": 1}  # plane -> axis that its slices follow
WINDOW_HU = (-1000.0, 1000.0)


@dataclass(frozen=True)
class SliceSettings:
    """Which slices. They decide about the numbers, so they are told with them and stand in the cache's keys.

    Attributes:
        spacing: mm along right, anterior, superior; None: as it is. size: voxels likewise; None: as it is.
        pad: smaller volumes are padded with air to ``size``. crop: larger ones are cropped to it around their center.
        center: the fraction of the slices that is looked at, around the middle of each axis (the paper: 0.5).
        window: HU; what lies outside is clipped. A narrow one shows the texture of soft tissue.

    Raises:
        InputError: a value is out of range.
    """

    spacing: tuple[float, float, float] | None = None
    size: tuple[int, int, int] | None = None
    pad: bool = True
    crop: bool = True
    center: float = 0.5
    window: tuple[float, float] = WINDOW_HU

    def __post_init__(self) -> None:
        for name, values in (("spacing", self.spacing), ("size", self.size)):
            if values is not None and (len(values) != 3 or min(values) <= 0):
                raise InputError(f"The {name} must be three numbers greater than 0, got {values}.")
        if not 0 < self.center <= 1:
            raise InputError(f"The fraction of slices must be greater than 0 and at most 1, got {self.center:g}.")
        if not self.window[0] < self.window[1]:
            raise InputError(f"The window must go from a lower to a higher HU, got {self.window}.")

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary."""
        return asdict(self)


def on_grid(image: ImageVolume, settings: SliceSettings) -> np.ndarray:
    """``[I, J, K]`` HU with axes right, anterior, superior, resampled, padded and cropped around the center."""
    order, flips = closest_axes(image.affine)
    array = np.flip(image.array.transpose(order), flips)
    count, spacing = np.array(array.shape), image.spacing[list(order)]
    scale = np.ones(3) if settings.spacing is None else np.array(settings.spacing) / spacing
    scale[np.abs(scale - 1) < SAME_SPACING] = 1.0
    size = np.maximum(np.rint(count / scale), 1).astype(int)
    if settings.size is not None:
        low = settings.size if settings.pad else np.minimum(size, settings.size)
        high = settings.size if settings.crop else np.maximum(size, settings.size)
        size = np.clip(size, low, high)
    kept = scale == 1
    shift = np.where(kept, -((size - count) // 2), (count - 1) / 2 - scale * (size - 1) / 2)
    return linear(array, tuple(size.tolist()), tuple(scale.tolist()), tuple(shift.tolist()), AIR_HU)


def stacks(image: ImageVolume, settings: SliceSettings) -> dict[str, np.ndarray]:
    """Plane -> its central slices ``[n, H, W]`` float32 in 0...1, scaled by the smallest and largest value of them all.

    Sources: FACTS 6, steps 1, 3 and 4. The planes are views of two axes in the order I, J, K.
    """
    hu = np.clip(on_grid(image, settings), *settings.window).astype(np.float32)
    return {plane: _scaled(_central(np.moveaxis(hu, axis, 0), settings.center)) for plane, axis in PLANES.items()}


def batches(stack: np.ndarray, size: int) -> Sequence[np.ndarray]:
    """``stack`` in pieces of at most ``size`` slices."""
    return [stack[start : start + size] for start in range(0, len(stack), size)]


def _central(stack: np.ndarray, fraction: float) -> np.ndarray:
    first = int((1 - fraction) / 2 * len(stack))
    return stack[first : max(int((1 + fraction) / 2 * len(stack)), first + 1)]


def _scaled(stack: np.ndarray) -> np.ndarray:
    low, high = stack.min(), stack.max()
    return (stack - low) / (high - low + np.float32(1e-10))
