"""Where lesions can be placed: kinds of lesion with their organs, and well-spread places inside an organ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from maisi.errors import InputError
from maisi.labels import BONES, KIDNEYS, LABELS, LESIONS, LUNGS, RIBS, TUMORS, VERTEBRAE, find_label
from maisi.volume import LabelVolume

MIN_HOST_ML = 1.0  # an organ of less in view is not taken unless it is asked for
CANDIDATES = 400  # among which places far from each other are looked for
_GROUPS = {"lung": LUNGS, "kidney": KIDNEYS, "bone": BONES, "rib": RIBS, "vertebra": VERTEBRAE, "vertebrae": VERTEBRAE}


class Site(NamedTuple):
    """A kind of lesion (MAISI id) and the organs (ids) of the label map in which it is centred."""

    kind: int
    hosts: tuple[int, ...]


def find_sites(labels: LabelVolume, organs: Sequence[str] = (), lesions: Sequence[str] = ()) -> list[Site]:
    """The sites of ``labels``: one for each kind of lesion, or for each kind in each of ``organs``.

    Args:
        organs: names such as "liver", "left kidney", "lung", "bone". lesions: names such as "hepatic tumor".

    Raises:
        InputError: a name is unknown, an organ is not in the label map or has no lesions, or nothing remains.
    """
    counts = sum(np.bincount(slab.ravel(), minlength=256) for slab in labels.array)
    kinds = [_kind(name) for name in lesions] or TUMORS
    if organs:
        found = [
            Site(kind, tuple(i for i in ids if i in LABELS[kind].hosts))
            for ids in _organs(organs, kinds, counts)
            for kind in kinds
        ]
        least = 1
    else:
        found = [Site(kind, _present(LABELS[kind].hosts, counts)) for kind in kinds]
        least = 1 if lesions else MIN_HOST_ML * 1000 / abs(np.linalg.det(labels.affine[:3, :3]))
    found = [site for site in found if counts[list(site.hosts)].sum() >= least]
    if not found:
        raise InputError(
            f"The label map has no organ in which a lesion ({_names(kinds)}) can be placed; give one with such organs."
        )
    return list(dict.fromkeys(found))


def spread_centers(
    labels: LabelVolume, site: Site, radius_mm: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """``[count, 3]`` RAS mm: places inside the site's organs, each as far as can be from those before it.

    They are deep enough for a ball of ``radius_mm`` to lie mostly inside, where the organ is that deep anywhere.

    Raises:
        InputError: there are fewer such voxels.
    """
    inside = np.isin(labels.array, site.hosts)
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    # What lies beyond the image is not known to be the organ.
    depth = ndimage.distance_transform_edt(np.pad(inside[box], 1), sampling=labels.spacing)[1:-1, 1:-1, 1:-1]
    deep = np.argwhere(depth >= min(0.6 * radius_mm, 0.7 * depth.max())) + [part.start for part in box]
    if len(deep) < count:
        raise InputError(
            f"There are only {len(deep)} places for a {LABELS[site.kind].name} here, not {count}; ask for fewer places "
            "or cases, or for more sizes or shapes."
        )
    some = rng.permutation(len(deep))[: max(CANDIDATES, 4 * count)]
    points = deep[some] @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    chosen = [0]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return points[chosen]


def _kind(name: str) -> int:
    found = find_label(name)
    if found not in LESIONS:
        raise InputError(f"There is no lesion called {name!r}; choose among: {_names(LESIONS)}.")
    return found


def _organs(names: Sequence[str], kinds: Sequence[int], counts: np.ndarray) -> list[tuple[int, ...]]:
    """The ids of each named organ, each of which can have one of ``kinds``."""
    found = [_organ(name, counts) for name in names]
    possible = {host for kind in kinds for host in LABELS[kind].hosts}
    for name, ids in zip(names, found, strict=True):
        if not possible & set(ids):
            raise InputError(f"No lesion that can be made grows in {name!r}; there are: {_names(kinds)}.")
    return found


def _organ(name: str, counts: np.ndarray) -> tuple[int, ...]:
    """The ids that ``name`` means and the label map has."""
    word = name.strip().casefold()
    known = find_label(name)
    ids = _GROUPS.get(word, _GROUPS.get(word.removesuffix("s"), () if known is None else (known,)))
    if not ids:
        raise InputError(f"There is no organ called {name!r}; give a name such as liver, left kidney, lung or bone.")
    present = _present(ids, counts)
    if not present:
        raise InputError(f"The label map has no {name}; choose an organ that it has.")
    return present


def _present(ids: Sequence[int], counts: np.ndarray) -> tuple[int, ...]:
    return tuple(i for i in ids if counts[i])


def _names(ids: Sequence[int]) -> str:
    return ", ".join(LABELS[i].name for i in ids)
