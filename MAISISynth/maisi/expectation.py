"""What a job will need, told before it starts: memory by counting, time from this machine's speed and its past runs."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from maisi.editing import can_be_local, natural_margin
from maisi.geometry import GridPlan, plan_grid
from maisi.local_edit import Window
from maisi.models.variants import get_variant
from maisi.options import Options
from maisi.planning import Plan, plan, plan_on
from maisi.volume import Box

EDIT_MM = 20.0  # diameter of the edit whose cost is told, since nobody knows the next one
RUNS_KEPT = 5


@dataclass(frozen=True)
class Expectation:
    """What one job will need.

    Attributes:
        memory_gb: peak on ``device``. seconds: without loading the networks, which takes long only the first time.
        kind: what the time is learned for; last, whether it is a local edit.
        planned: ``seconds`` before anything was learned. runs: past jobs of this kind that it was learned from.
    """

    memory_gb: float
    seconds: float
    device: str
    precision: str
    kind: tuple
    planned: float
    runs: int


class Experience:
    """How much longer past jobs of a kind took than was planned from the speed of one convolution on this machine."""

    def __init__(self) -> None:
        self._ratios: defaultdict[tuple, deque[float]] = defaultdict(lambda: deque(maxlen=RUNS_KEPT))

    def runs(self, kind: tuple) -> int:
        """How many jobs of this kind are remembered."""
        return len(self._ratios[kind])

    def factor(self, kind: tuple) -> float:
        """Median of measured over planned time; before an edit was measured that of whole images, and vice versa."""
        other = (*kind[:-1], not kind[-1])
        return median(self._ratios[kind] or self._ratios[other] or [1.0])

    def note(self, expected: Expectation, seconds: float) -> None:
        """A job that was expected so has taken ``seconds``."""
        self._ratios[expected.kind].append(seconds / expected.planned)


PAST = Experience()  # of this process


class Stopwatch:
    """Measures a job by its progress: the time besides loading, for each try."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._loading, self._tries = 0.0, 0

    def take(self, stage: str, step: int, total: int) -> None:
        """The progress callback of the job."""
        if stage == "load":
            self._loading += time.monotonic() if step == total else -time.monotonic()
            self._tries += step == total

    @property
    def seconds(self) -> float:
        """So far, for each try."""
        return (time.monotonic() - self._start - self._loading) / max(self._tries, 1)


def expect(shape: Sequence[int], affine: np.ndarray, options: Options, edit: bool = False) -> Expectation:
    """What a synthesis on a grid will need; nothing is loaded for it.

    Memory is that of :func:`maisi.planning.plan`. Seconds start from the speed of a convolution that is measured here
    once, and are corrected by the last jobs of the same model, device, precision and profile in this process.

    Args:
        shape, affine: of the user's grid, ``[I, J, K]`` and 4x4 RAS mm.
        edit: a local edit, if the options allow one. Before edits were measured that is one of 20 mm in the middle of
            the grid; afterwards the time is that of edits such as the last ones.

    Raises:
        InputError: as :func:`maisi.planning.plan`. OutOfMemoryError: not even the smallest way fits.
    """
    local = edit and can_be_local(options)
    way = _edit_plan(shape, affine, options) if local else plan(shape, affine, options)
    way.check()
    kind = (options.model, way.device, way.precision, options.compatible, local)
    planned = way.seconds * (2 if local else 1)  # under the labels from before and after the edit
    seconds = planned * PAST.factor(kind)
    return Expectation(way.memory_gb, seconds, way.device, way.precision, kind, planned, PAST.runs(kind))


def _edit_plan(shape: Sequence[int], affine: np.ndarray, options: Options) -> Plan:
    grid = plan_grid(shape, affine, get_variant(options.model).grid)
    window = Window.around(grid, grid.box_to_model(_middle(grid)))
    return plan_on(grid.part(window.encoded)[0], options)


def _middle(grid: GridPlan) -> Box:
    """The voxels of the user's grid that such an edit and its margin touch."""
    spacing = np.linalg.norm(grid.user_affine[:3, :3], axis=0)
    reach = np.ceil((EDIT_MM / 2 + natural_margin(grid)) / spacing).astype(int)
    return tuple(slice(max(n // 2 - r, 0), min(n // 2 + r + 1, n)) for n, r in zip(grid.user_shape, reach, strict=True))
