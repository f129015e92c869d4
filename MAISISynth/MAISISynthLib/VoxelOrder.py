"""The same voxels in another order of the axes: saving a scene may turn an axis of a volume around."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from maisi.volume import Volume

V = TypeVar("V", bound=Volume)


def inOrderOf(volume: V, other: Volume) -> V:
    """``volume`` with its axes permuted and flipped to run as those of ``other``; every voxel stays where it is.

    Volumes whose axes are not parallel come out with some order; compare with ``same_grid`` afterwards.
    """
    step = np.linalg.inv(volume.affine[:3, :3]) @ other.affine[:3, :3]  # in voxels of volume, per axis of other
    order = np.abs(step).argmax(axis=0)
    if len(set(order)) < 3:
        return volume
    toVolume = np.eye(4)
    toVolume[:3, :3] = 0
    for axis, of in enumerate(order):
        backwards = step[of, axis] < 0
        toVolume[of, axis] = -1 if backwards else 1
        toVolume[of, 3] = volume.shape[of] - 1 if backwards else 0
    flips = [axis for axis, of in enumerate(order) if toVolume[of, axis] < 0]
    return type(volume)(np.flip(volume.array.transpose(order), flips), volume.affine @ toVolume)
