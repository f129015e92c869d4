"""What the mouse does with tumors: grab one or an end of its axes, drag, grow, release. No Qt, no view.

While a tumor is held only ``lesion`` changes, to be drawn as an outline; releasing writes it, as one act to undo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maisi.masks.lesion import Lesion
from MAISISynthLib.Sight import Sight
from MAISISynthLib.TumorEdit import TumorEdit
from MAISISynthLib.TumorHandles import MIN_RADIUS, Handle, TumorHandles

DRAG_STARTS = 2.0  # mm or, of a handle, pixels; a hand is never quite still
_LOOK_INTO, _LOOK_STEP = 80.0, 1.0  # mm from a surface clicked in a 3D view

Vector = Sequence[float]


class TumorTool:
    """One press of the mouse, from ``grab`` to ``release``.

    Attributes:
        lesion: what will be written on release; None while nothing is held. segmentId: of the held tumor; None if new.
        radius: of new tumors, mm. origin: where the mouse took hold, RAS mm.
    """

    def __init__(self, tumors: TumorEdit, radius: float = 10.0) -> None:
        self.lesion: Lesion | None = None
        self.radius = radius
        self._tumors = tumors
        self.segmentId: str | None = None
        self._held: Lesion | None = None
        self._handle: Handle | None = None
        self._pressed = np.zeros(2)  # the pixel where the handle was taken
        self.origin = np.zeros(3)

    def grab(self, position: Vector, direction: Vector | None = None, new: bool = True) -> bool:
        """Take hold of the tumor at a place, or of a new one where there is none; whether something is held.

        Args:
            direction: of sight, when the place is on a surface in a 3D view: what is meant lies behind it.
            new: False holds nothing where there is no tumor.

        Raises:
            InputError: a new tumor is meant, and none grows there.
        """
        place = self._behind(position, direction)
        self.segmentId = self._tumors.tumorAt(place)
        if self.segmentId is None and not new:
            return False
        if self.segmentId is None:
            kind = self._tumors.kindAt(place)
            self._held = Lesion(kind, tuple(place), (self.radius,) * 3, seed=np.random.default_rng().integers(2**31))
        else:
            self._held = self._tumors.lesion(self.segmentId)
        self.lesion, self.origin = self._held, np.asarray(place, float)
        return True

    def grabHandle(self, segmentId: str, sight: Sight, xy: Vector) -> bool:
        """Take hold of an end of an axis of this tumor, if a pixel of a view is on one; False if not.

        Raises:
            InputError: the segment is no tumor.
        """
        lesion = self._tumors.lesion(segmentId)
        handle = TumorHandles(lesion, sight).at(xy)
        if handle is not None:
            self.segmentId, self._held, self._handle = segmentId, lesion, handle
            self._pressed, self.lesion, self.origin = np.array(xy, float), lesion, handle.position
        return handle is not None

    def drag(self, sight: Sight, xy: Vector) -> None:
        """Move the held tumor along, or the end of its axis; a new one is drawn out to the size that reaches here.

        Args:
            sight: of the view in which the mouse is. xy: its pixel.
        """
        if self._held is None:
            return
        if self._handle is not None:
            way = np.asarray(xy, float) - self._pressed
            if np.linalg.norm(way) >= DRAG_STARTS:
                handles = TumorHandles(self._held, sight)
                self.lesion = handles.stretched(self._handle, self._handle.pixel + way)
            return
        way = sight.under(xy, self.origin) - self.origin
        if np.linalg.norm(way) < DRAG_STARTS:
            return
        if self.segmentId is None:
            self.lesion = self._held.stretched((max(float(np.linalg.norm(way)), MIN_RADIUS) / self.radius,) * 3)
        else:
            self.lesion = self._held.moved(tuple(way))

    def grow(self, position: Vector, mm: float) -> None:
        """Grow what is held, or the tumor at a place, which is then held; nothing where there is none."""
        if self._held is None and self._tumors.tumorAt(position) is not None:
            self.grab(position)
        if self.lesion is not None:
            step = max(mm, MIN_RADIUS - min(self.lesion.radii))
            self.lesion, self._held = self.lesion.grown(step), self._held.grown(step)

    @property
    def changed(self) -> bool:
        """Whether releasing would write something."""
        if self.lesion is None:
            return False
        return self.segmentId is None or self.lesion != self._tumors.lesion(self.segmentId)

    def release(self) -> str | None:
        """Write what was held, if it changed; returns its segment ID, None if nothing was held.

        Raises:
            InputError: it does not fit there; nothing was changed and nothing is held any more.
        """
        segmentId, lesion, changed = self.segmentId, self.lesion, self.changed
        self.cancel()
        if not changed:
            return segmentId
        if segmentId is None:
            return self._tumors.add(lesion)
        self._tumors.apply(segmentId, lesion, byOrgan=True)
        return segmentId

    def cancel(self) -> None:
        """Let go without writing."""
        self.lesion = self._held = self.segmentId = self._handle = None

    def _behind(self, position: Vector, direction: Vector | None) -> np.ndarray:
        start = np.asarray(position, float)
        if direction is None:
            return start
        step = np.asarray(direction, float) / np.linalg.norm(direction) * _LOOK_STEP
        for count in range(round(_LOOK_INTO / _LOOK_STEP)):
            if self._tumors.growsAt(start + count * step):
                return start + count * step
        return start
