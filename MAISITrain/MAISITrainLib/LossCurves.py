"""From the rows of a training to curves: raw, smoothed, validation. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LOSS, SCORE = "loss", "score"
POINTS = 4000  # of a curve; more are not seen


@dataclass(frozen=True)
class Curves:
    """What is drawn of one figure.

    Attributes:
        steps, raw, smooth: ``[N]``. validationSteps, validation: ``[M]`` of the same figure on held-out data; of the
            score where it has no such figure.
        validationName: the figure that ``validation`` shows.
    """

    steps: np.ndarray
    raw: np.ndarray
    smooth: np.ndarray
    validationSteps: np.ndarray
    validation: np.ndarray
    validationName: str


def figureNames(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures that the rows have, the loss first."""
    found = dict.fromkeys(key for row in rows for key, value in row.items() if _isNumber(value))
    names = [name for name in found if name not in ("step", "epoch", "time", SCORE)]
    return sorted(names, key=lambda name: name != LOSS)


def curvesOf(rows: Sequence[Mapping[str, Any]], figure: str, smoothing: float) -> Curves:
    """The curves of one figure.

    Args:
        smoothing: part of the past in the moving average, 0 (none) to below 1; see ``smoothed``.
    """
    steps, raw = _series(rows, "train", figure)
    smooth = smoothed(raw, smoothing)
    thin = slice((len(steps) - 1) % _stride(steps), None, _stride(steps))  # the last one always stays
    validationName = figure if any(figure in row for row in rows if row["split"] == "validation") else SCORE
    validationSteps, validation = _series(rows, "validation", validationName)
    return Curves(steps[thin], raw[thin], smooth[thin], validationSteps, validation, validationName)


def smoothed(values: np.ndarray, smoothing: float) -> np.ndarray:
    """The exponential moving average of ``[N]`` values, without the pull to 0 at its beginning.

    ``a[n] = s a[n-1] + (1 - s) x[n]``, divided by ``1 - s^(n+1)``. A value that is not finite leaves the average as it
    is.
    """
    average, weight, result = 0.0, 0.0, np.empty(len(values))
    for index, value in enumerate(values):
        if np.isfinite(value):
            average = smoothing * average + (1 - smoothing) * value
            weight = smoothing * weight + (1 - smoothing)
        result[index] = average / weight if weight else np.nan
    return result


def _series(rows: Sequence[Mapping[str, Any]], split: str, figure: str) -> tuple[np.ndarray, np.ndarray]:
    found = [(row["step"], row[figure]) for row in rows if row["split"] == split and _isNumber(row.get(figure))]
    steps, values = np.array(found, float).reshape(-1, 2).T
    return steps, values


def _stride(values: np.ndarray) -> int:
    return max(-(-len(values) // POINTS), 1)


def _isNumber(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
