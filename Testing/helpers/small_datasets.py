"""Data sets of small CTs with label maps, in the layouts that people have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maisi.files import write_volume
from maisi.volume import ImageVolume, LabelVolume

SHAPE, SPACING = (20, 18, 14), (2.0, 2.0, 3.0)
AFFINE = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])  # as most CTs: from right to left, from front to back


def a_ct(seed: int = 0, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """A block of soft tissue with noise in air, int16 HU."""
    hu = np.full(shape, -1000, np.int16)
    inner = tuple(slice(2, n - 2) for n in shape)
    hu[inner] = np.random.default_rng(seed).normal(40, 20, hu[inner].shape)
    return hu


def a_label_map(organ: int = 1, lesion: int = 26, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """An organ in the body, with a lesion in it."""
    labels = np.zeros(shape, np.uint8)
    labels[4:-4, 4:-4, 3:-3] = organ
    labels[8:12, 8:12, 6:9] = lesion
    return labels


def write_case(folder: Path, seed: int = 0, labels: np.ndarray | None = None, affine: np.ndarray = AFFINE) -> None:
    """``folder/ct.nii.gz`` and, unless ``labels`` is empty, ``folder/label.nii.gz``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(folder / "ct.nii.gz", ImageVolume(a_ct(seed), affine))
    labels = a_label_map() if labels is None else labels
    if labels.size:
        write_volume(folder / "label.nii.gz", LabelVolume(labels, affine))


def write_cases(folder: Path, count: int) -> Path:
    """A folder with a folder for each case."""
    for seed in range(count):
        write_case(folder / f"case{seed}", seed)
    return folder


def write_nnunet(folder: Path, labels: dict[str, int], channels: Sequence[str] = ("CT",), count: int = 2) -> Path:
    """An nnU-Net data set, whose label maps have the values 1 (organ) and 2 (lesion)."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for seed in range(count):
        write_volume(folder / f"labelsTr/p{seed}.nii.gz", LabelVolume(a_label_map(1, 2), AFFINE))
        for number in range(len(channels)):
            image = ImageVolume(a_ct(10 * seed + number) + 1000 * number, AFFINE)
            write_volume(folder / f"imagesTr/p{seed}_{number:04d}.nii.gz", image)
    content = {"channel_names": dict(enumerate(channels)), "labels": labels, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def write_list(path: Path, entries: Sequence[dict], **more: object) -> Path:
    """A data list."""
    path.write_text(json.dumps({"training": list(entries), **more}))
    return path
