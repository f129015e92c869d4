"""The ends of a tumor's three axes as handles in a view: where they are, which one is meant, what dragging it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maisi.masks.lesion import Lesion
from MAISISynthLib.Sight import Sight

MIN_RADIUS, MAX_RADIUS = 1.0, 80.0  # mm
REACH = 9.0  # pixels from the middle of a handle
_FORESHORTENED = 0.5  # sine of the angle to the line of sight below which an axis has no handles


@dataclass(frozen=True, eq=False)
class Handle:
    """One end of an axis: ``side`` 1 or -1 of ``axis`` 0 to 2, its RAS mm, and x and y of its pixel."""

    axis: int
    side: int
    position: np.ndarray
    pixel: np.ndarray


class TumorHandles:
    """The handles of a lesion in a view.

    Attributes:
        all: two for each axis that is not seen end-on; none in a slice that does not cut the lesion.
    """

    def __init__(self, lesion: Lesion, sight: Sight) -> None:
        self._lesion, self._sight = lesion, sight
        self._center, self._axes = np.array(lesion.center), np.array(lesion.rotation).T  # rows
        self._middle = sight.pixels(self._center)[:2]
        self.all = [self._handle(axis, side) for axis in self._seenAxes() for side in (1, -1)]

    def at(self, xy: Sequence[float]) -> Handle | None:
        """The handle that a pixel is on; near the middle of a small lesion the lesion itself is meant."""
        distances = [np.linalg.norm(handle.pixel - xy) for handle in self.all]
        nearest = int(np.argmin(distances)) if distances else 0
        limit = min(REACH, float(np.linalg.norm(self._middle - xy)))
        return self.all[nearest] if distances and distances[nearest] < limit else None

    def stretched(self, handle: Handle, xy: Sequence[float]) -> Lesion:
        """The lesion whose axis, about the same center, ends where the line of sight through a pixel passes it."""
        start, sight = self._sight.line(xy)
        axis, way = handle.side * self._axes[handle.axis], self._center - start
        along = axis @ sight
        radius = (along * (sight @ way) - axis @ way) / (1 - along**2)
        radii = list(self._lesion.radii)
        radii[handle.axis] = float(np.clip(radius, MIN_RADIUS, MAX_RADIUS))
        return replace(self._lesion, radii=tuple(radii))

    def _seenAxes(self) -> list[int]:
        if self._sight.isSlice and not self._isCut():
            return []
        _start, sight = self._sight.line(self._middle)
        sines = np.linalg.norm(np.cross(self._axes, sight), axis=1)
        return np.flatnonzero(sines >= _FORESHORTENED).tolist()

    def _isCut(self) -> bool:
        toDepth = self._sight.toPixels[2, :3]
        depth = self._sight.pixels(self._center)[2]
        return bool(abs(depth) <= np.linalg.norm(self._axes @ toDepth * self._lesion.radii))

    def _handle(self, axis: int, side: int) -> Handle:
        position = self._center + side * self._lesion.radii[axis] * self._axes[axis]
        return Handle(axis, side, position, self._sight.pixels(position)[:2])
