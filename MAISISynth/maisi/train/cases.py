"""Training cases: deformed label maps and phantoms, with and without lesions, rendered as counterfactual pairs.

A case is a folder-less pair of arrays, written atomically, so that generation can be stopped and continued and a
training can start on the first cases while the rest are still being made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS
from maisi.masks.deform import deform
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.train.render import render_pair
from maisi.volume import LabelVolume

CASE_SHAPE = (112, 96, 96)


@dataclass(frozen=True)
class Case:
    """Two label maps and their CTs on one grid: index 0 without, 1 with lesions.

    Attributes:
        labels: uint8 ``[2, I, J, K]``. hu: int16 ``[2, I, J, K]``. spacing: ``[3]`` mm. contrast: portal-venous or not.
    """

    labels: np.ndarray
    hu: np.ndarray
    spacing: np.ndarray
    contrast: bool = True


def make_labels(
    seed: int, maps: Sequence[LabelVolume], phantom_share: float = 0.35, shape: tuple[int, int, int] = CASE_SHAPE
) -> tuple[LabelVolume, LabelVolume]:
    """Label maps of case ``seed``: a new anatomy without lesions, and the same with up to four of them.

    Args:
        maps: real label maps with a body (200) to deform. phantom_share: fraction of cases made procedurally.
    """
    rng = np.random.default_rng(seed)
    spacing = np.full(3, rng.uniform(2.2, 4.0))
    spacing[2] *= rng.uniform(0.85, 1.15)
    if not maps or rng.random() < phantom_share:
        before = phantom(int(rng.integers(2**31)), shape, tuple(spacing), center_z=rng.uniform(-240, 110))
        before = deform(before, rng, shape, spacing, center=_wander(before, rng, (35, 25, 0)), strength=0.4)
    else:
        source = maps[rng.integers(len(maps))]
        before = deform(source, rng, shape, spacing, center=_wander(source, rng, (40, 30, None)))
    before = _healthy(before)
    after = before
    for _ in range(rng.choice([0, 1, 2, 3, 4], p=[0.08, 0.3, 0.3, 0.2, 0.12])):
        kinds = [k for k in LESIONS if np.isin(before.array, LABELS[k].hosts).sum() > 60]
        if kinds:
            after = add_lesion(after, random_lesion(after, kinds[rng.integers(len(kinds))], rng))
    return before, after


def make_case(seed: int, maps: Sequence[LabelVolume], **options: object) -> Case:
    """Case ``seed``: labels of :func:`make_labels`, rendered."""
    before, after = make_labels(seed, maps, **options)
    images = render_pair(before, after, np.random.default_rng((seed, 1)))
    return Case(np.stack([before.array, after.array]), np.stack([i.array for i in images]), before.spacing)


def _wander(labels: LabelVolume, rng: np.random.Generator, reach: tuple) -> np.ndarray:
    """A random grid centre: within ``reach`` mm of the body's centre; None = anywhere along the body."""
    inside = np.argwhere(labels.array)[::97]
    points = inside @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    low, high = points.min(0), points.max(0)
    spans = [(r if r is not None else max(0.0, (b - a) / 2 - 90)) for r, a, b in zip(reach, low, high, strict=True)]
    return (low + high) / 2 + rng.uniform(-1, 1, 3) * spans


def _healthy(labels: LabelVolume) -> LabelVolume:
    """Cysts and lesions of the source map are removed, so that "without" means without."""
    from maisi.labels import remove_lesions

    return LabelVolume(remove_lesions(labels.array), labels.affine)


def write_case(path: Path, case: Case) -> None:
    """One uncompressed ``.npz``, written under a temporary name first."""
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, labels=case.labels, hu=case.hu, spacing=case.spacing, contrast=case.contrast)
    temporary.replace(path)


def read_case(path: Path) -> Case:
    """Inverse of :func:`write_case`.

    Raises:
        InputError: not a case file.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            return Case(data["labels"], data["hu"], data["spacing"], bool(data["contrast"]))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path} is not a training case; delete it and generate it again.") from error


def generate(folder: Path, seeds: Sequence[int], maps: Sequence[LabelVolume]) -> None:
    """Write the cases of ``seeds`` that ``folder`` does not have yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"case_{seed:06d}.npz"
        if not path.exists():
            write_case(path, make_case(seed, maps))
    (folder / "cases.json").write_text(json.dumps({"shape": CASE_SHAPE, "maps": len(maps)}))
