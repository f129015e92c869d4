"""Directions spread evenly over the sphere, and the triangles between them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial import ConvexHull


@lru_cache(maxsize=8)
def directions(count: int) -> np.ndarray:
    """``[count, 3]`` unit vectors on a Fibonacci spiral: each stands for the same share of the sphere. Read-only."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (1 + 5**0.5) * np.arange(count)
    ring = np.sqrt(1 - height**2)
    vectors = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
    vectors.setflags(write=False)
    return vectors


@lru_cache(maxsize=8)
def triangles(count: int) -> np.ndarray:
    """``[2 * count - 4, 3]`` indices into ``directions(count)``, counterclockwise seen from outside. Read-only."""
    points = directions(count)
    faces = ConvexHull(points).simplices
    a, b, c = points[faces].transpose(1, 0, 2)
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward][:, ::-1]
    faces.setflags(write=False)
    return faces
