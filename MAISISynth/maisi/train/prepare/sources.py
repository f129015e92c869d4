"""Data sets (see :mod:`maisi.datasets`) as cases: what training wants to know of each scan beside its files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from maisi.datasets import Dataset, read_dataset
from maisi.errors import InputError
from maisi.train.prepare.cases import FOLDS, Case


def read_sources(paths: Iterable[Path], modality: str | None = None) -> list[Case]:
    """All cases of the data sets at ``paths``, with ids that are unique.

    A data list may say of each scan: ``fold``, ``modality``, ``spacing`` (mm), ``weight`` (of sampling), and ``pair``,
    the image of the same scan without its lesions. Scans without a fold get one in turn, those of a pair the same.

    Args:
        modality: of images whose data set does not tell it; CT by default.

    Raises:
        InputError: a data set is missing, has none of the known layouts, or has no images.
    """
    return _with_unique_ids([case for path in paths for case in _cases(Path(path), modality or "ct")])


def _cases(path: Path, modality: str) -> Iterator[Case]:
    dataset = read_dataset(path, absent_ok=True)
    places = {scan.image: index for index, scan in enumerate(dataset.scans)}
    for index, scan in enumerate(dataset.scans):
        without = places.get(path.parent / scan.entry["pair"]) if scan.entry.get("pair") else None
        try:
            yield _case(dataset, index, without, modality)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} says something about {scan.case} that is not understood ({error}).") from error


def _case(dataset: Dataset, index: int, without: int | None, modality: str) -> Case:
    """The scan ``index``; ``without``: the one that lacks its lesions, which otherwise is the same."""
    scan, first = dataset.scans[index], index if without is None else without
    told, folds = scan.entry, (scan.fold, dataset.scans[first].fold, first % FOLDS)
    return Case(
        id=scan.case,
        dataset=dataset.name,
        image=scan.image,
        label=scan.label,
        fold=next(fold for fold in folds if fold is not None),
        modality=str(told.get("modality") or modality),
        weight=float(told.get("weight", 1.0)),
        names=dataset.classes,
        spacing=tuple(map(float, told["spacing"])) if told.get("spacing") else None,
        pair=None if without is None else dataset.scans[without].case,
    )


def _with_unique_ids(cases: list[Case]) -> list[Case]:
    """Ids fit for file names; with the data set's name, and then a number, where they are not unique."""
    ids = [_plain(case.id) for case in cases]
    twice = {id_ for id_, count in Counter(ids).items() if count > 1}
    named = [f"{case.dataset}_{id_}" if id_ in twice else id_ for id_, case in zip(ids, cases, strict=True)]
    seen: Counter[str] = Counter()
    unique = {}
    for name, case in zip(named, cases, strict=True):
        seen[name] += 1
        unique[case.dataset, case.id] = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return [
        replace(case, id=unique[case.dataset, case.id], pair=case.pair and unique[case.dataset, case.pair])
        for case in cases
    ]


def _plain(name: str) -> str:
    """``s0001/ct`` -> ``s0001``: where each scan has a folder, that is its name."""
    folder, _, stem = name.rpartition("/")
    generic = stem.casefold() in ("ct", "image", "img", "mr", "mri")
    return re.sub(r"[^\w.-]+", "_", folder if folder and generic else name)
