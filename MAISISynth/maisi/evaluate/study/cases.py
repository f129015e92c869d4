"""The cases of a study: the user's real ones or rendered phantoms, and synthetic ones made from their label maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np

from maisi.datasets import Dataset, Scan, read_dataset
from maisi.errors import InputError
from maisi.files import write_volume
from maisi.labels import LABELS, LESIONS
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.options import Options
from maisi.request import Request
from maisi.volume import LabelVolume

Progress = Callable[[str, int, int], None]
SOURCE = "source"  # in a data list's entry of a synthetic case: the real case it was made from
_PHANTOM_SIZE, _PHANTOM_MM = (64, 56, 48), 4.5
_TUMOR = 26


@dataclass(frozen=True)
class StudyCase:
    """A case with labels.

    Attributes:
        name: unique in the study. fold: of a real case. source: name of the real case that a synthetic one was made
            from; None: unknown. Where it is known, the case is never trained on when its source is tested.
    """

    name: str
    dataset: Dataset
    scan: Scan
    fold: int | None = None
    source: str | None = None


def real_cases(dataset: Dataset, folds: int, seed: int) -> list[StudyCase]:
    """The labelled cases of a data set in folds: those that it names, else random ones of equal size.

    Raises:
        InputError: there are fewer cases than folds.
    """
    scans = dataset.labelled
    if all(scan.fold is not None for scan in scans) and len({scan.fold for scan in scans}) > 1:
        return [StudyCase(scan.case, dataset, scan, scan.fold) for scan in scans]
    if len(scans) < folds:
        raise InputError(f"{dataset.name} has {len(scans)} labelled cases, fewer than {folds} folds; give --folds.")
    order = np.random.default_rng(seed).permutation(len(scans))
    fold_of = {int(index): position % folds for position, index in enumerate(order)}
    return [StudyCase(scan.case, dataset, scan, fold_of[index]) for index, scan in enumerate(scans)]


def given_synthetic(dataset: Dataset, real: Sequence[StudyCase]) -> list[StudyCase]:
    """The labelled cases of a synthetic data set; an entry "source" of a data list tells what they were made from.

    Raises:
        InputError: a source is not among the real cases.
    """
    names = {case.name for case in real}
    found = [
        StudyCase(f"synthetic/{scan.case}", dataset, scan, source=scan.entry.get(SOURCE)) for scan in dataset.labelled
    ]
    strangers = {case.source for case in found if case.source is not None} - names
    if strangers:
        raise InputError(f"{dataset.name} has cases made from {sorted(strangers)[0]!r}, which is not a real case.")
    return found


def present_ids(cases: Sequence[StudyCase]) -> set[int]:
    """MAISI ids that occur in the label maps of ``cases``."""
    return {int(id_) for case in cases for id_ in np.unique(case.dataset.read_labels(case.scan).array)}


def render_phantoms(folder: Path, count: int, progress: Progress = lambda *_: None) -> Dataset:
    """CTs rendered from procedural anatomies with one to three liver tumors, as stand-ins for real ones; those that
    are in ``folder`` stay. Raises InputError: they cannot be written."""
    from maisi.train.embedded.render import render_pair

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, label = (folder / f"phantom{number:03d}{end}.nii.gz" for end in ("", "_label"))
        if not (image.is_file() and label.is_file()):
            rng = np.random.default_rng((number, 3))
            before = phantom(number, _PHANTOM_SIZE, (_PHANTOM_MM,) * 3)
            after = before
            for _ in range(rng.integers(1, 4)):
                after = add_lesion(after, random_lesion(after, _TUMOR, rng, radius_mm=rng.uniform(9, 22)))
            write_volume(label, after)
            write_volume(image, render_pair(before, after, rng)[1])
        progress("phantoms", number + 1, count)
    return read_dataset(folder)


def make_synthetic(
    real: Sequence[StudyCase], folder: Path, ratio: float, options: Options, progress: Progress = lambda *_: None
) -> tuple[list[StudyCase], list[str]]:
    """Synthetic cases with new lesions in the anatomies of real ones, one series of ``maisi vary`` for each.

    Args:
        ratio: synthetic cases for each real one, rounded up. options: of the synthesis.

    Returns:
        The cases, and notices about real cases that none could be made from.

    Raises:
        InputError: nothing could be made at all. WeightsError, OutOfMemoryError: as in a synthesis.
    """
    wanted = [id_ for id_ in LESIONS if id_ in present_ids(real)] or list(LESIONS)
    made, notices = [], []
    for number, case in enumerate(real):
        place = folder / case.name.replace("/", "_")
        try:
            series = _series(case, place, wanted, ceil(ratio), replace(options, seed=options.seed + number))
        except InputError as error:
            notices.append(f"No synthetic case was made from {case.name}: {error}")
            continue
        dataset = read_dataset(series)
        made += [StudyCase(f"synthetic/{place.name}/{s.case}", dataset, s, source=case.name) for s in dataset.labelled]
        progress("synthetic cases", number + 1, len(real))
    if not made:
        raise InputError(f"No synthetic case could be made. {notices[0]}")
    return made, notices


def _series(case: StudyCase, place: Path, wanted: Sequence[int], count: int, options: Options) -> Path:
    from maisi.vary.opening import begin, plan
    from maisi.vary.run import finish, make_share, tidy
    from maisi.vary.series import SeriesRequest

    labels = case.dataset.read_pair(case.scan)[1]
    fitting = tuple(LABELS[id_].name for id_ in wanted if np.isin(labels.array, LABELS[id_].hosts).any())
    if not fitting:
        raise InputError("its label map has no organ in which such lesions grow.")
    place.mkdir(parents=True, exist_ok=True)
    _write_once(place / "anatomy.nii.gz", labels)
    request = SeriesRequest(count, lesions=fitting, baselines=False, backgrounds=1, seed=options.seed)
    series = begin(plan(place / "series", Request("vary", options, {"labels": place / "anatomy.nii.gz"}), request))
    try:
        make_share(series)
    finally:
        tidy(series)
        missing = finish(series)
    if len(missing) == len(series.items):
        raise InputError(next(iter(missing.values())).get("error", "no case was made."))
    return place / "series"


def _write_once(path: Path, labels: LabelVolume) -> None:
    if not path.is_file():
        write_volume(path, labels)
