"""The irregularity of a lesion's surface: the logarithm of its radius as a function of direction alone.

A surface that is a radius for each direction is star-shaped: one piece, without holes, whatever its irregularity.
It belongs to the lesion and not to an image, so the same lesion has the same shape on every grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from maisi.masks.sphere import directions

# Fields are kept on a lattice around the unit sphere, fine enough to be read linearly: fast at many directions.
_CELL, _REACH = 0.1, 1.2
_NODES = round(2 * _REACH / _CELL) + 1
_COARSE_CELL, _COARSE_REACH = 0.2, 1.6  # noise wraps around where it does not matter
_LOBE = 0.45  # correlation length of lobulation, in radii
_SPICULES = 22
_EVERYWHERE = 2000  # directions that stand for all


@dataclass(frozen=True, eq=False)
class Relief:
    """Logarithm of a radius whose mean cube over the sphere is 1, spicules not counted.

    Attributes:
        lattice: ``[n, n, n]`` field around the unit sphere. amplitude: of this field. offset: makes the mean cube 1.
        spicules: ``[s, 5]`` unit direction, sharpness and height of each. low, high: bounds of the values.
    """

    lattice: np.ndarray
    amplitude: float
    offset: float
    spicules: np.ndarray
    low: float
    high: float

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """``[N]`` values at ``[N, 3]`` unit vectors."""
        values = self.amplitude * _read(self.lattice, vectors) - self.offset
        if len(self.spicules):
            values += np.log1p(_spicule_length(self.spicules, vectors))
        return values.clip(self.low, self.high)


@lru_cache(maxsize=64)
def random_relief(lobulation: float, spiculation: float, seed: int) -> Relief:
    """Lobes with a standard deviation of ``lobulation``, and spicules up to ``spiculation`` radii long."""
    rng = np.random.default_rng(seed)
    coarse = (round(2 * _COARSE_REACH / _COARSE_CELL) + 1,) * 3
    field = ndimage.gaussian_filter(rng.standard_normal(coarse), _LOBE / _COARSE_CELL, mode="wrap")
    scale, offset = _CELL / _COARSE_CELL, (_COARSE_REACH - _REACH) / _COARSE_CELL
    lattice = ndimage.affine_transform(field, (scale,) * 3, offset, (_NODES,) * 3)
    values = _read(lattice, directions(_EVERYWHERE))
    return _relief((lattice - values.mean()) / values.std(), lobulation, _random_spicules(rng, spiculation))


@lru_cache(maxsize=64)
def measured_relief(values: tuple[float, ...]) -> Relief:
    """The smooth relief that has ``values`` at ``directions(len(values))``."""
    points = directions(len(values))
    width = np.sqrt(4 * np.pi / len(values))  # about the distance between neighbors

    def kernel(vectors: np.ndarray) -> np.ndarray:
        return np.exp((vectors @ points.T - 1) / width**2)

    mean = np.mean(values)
    weights = np.linalg.solve(kernel(points), np.array(values) - mean)
    axis = np.linspace(-_REACH, _REACH, _NODES)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    distance = np.linalg.norm(nodes, axis=-1)
    read = abs(distance - 1) < 2 * _CELL  # the others are never looked at
    lattice = np.full(distance.shape, mean)
    lattice[read] += kernel(nodes[read] / distance[read][:, None]) @ weights
    return _relief(lattice, 1.0, np.empty((0, 5)))


def _relief(lattice: np.ndarray, amplitude: float, spicules: np.ndarray) -> Relief:
    values = amplitude * _read(lattice, directions(_EVERYWHERE)).clip(-2, 2)
    offset = np.log(np.exp(3 * values).mean()) / 3
    margin = 0.05 * amplitude  # between the directions that were looked at
    tip = 1.1 * _spicule_length(spicules, spicules[:, :3]).max(initial=0)
    high = values.max() - offset + margin + np.log1p(tip)
    return Relief(lattice, amplitude, offset, spicules, values.min() - offset - margin, high)


def _random_spicules(rng: np.random.Generator, length: float) -> np.ndarray:
    if not length:
        return np.empty((0, 5))
    towards = rng.standard_normal((_SPICULES, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    sharpness, height = rng.uniform(60, 160, _SPICULES), length * rng.uniform(0.3, 1, _SPICULES)
    return np.column_stack([towards, sharpness, height])


def _spicule_length(spicules: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``[N]`` by how much of the radius spicules lengthen it at ``[N, 3]`` unit vectors."""
    return np.exp(spicules[:, 3] * (vectors @ spicules[:, :3].T - 1)) @ spicules[:, 4]


def _read(lattice: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return ndimage.map_coordinates(lattice, (vectors.T + _REACH) / _CELL, order=1, mode="nearest")
