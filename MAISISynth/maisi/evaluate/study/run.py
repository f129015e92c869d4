"""The study itself: in each fold a training on real cases and one on real and synthetic ones, and the paired test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maisi.devices import resolve_device
from maisi.errors import InputError
from maisi.evaluate.report import Report
from maisi.evaluate.study.cases import StudyCase
from maisi.evaluate.study.results import study_report
from maisi.evaluate.study.segmenter import Sample, dice_of, read_sample, train_segmenter
from maisi.evaluate.study.settings import ARMS, StudySettings
from maisi.files import write_json

Progress = Callable[[str, int, int], None]


def run_study(
    real: Sequence[StudyCase],
    synthetic: Sequence[StudyCase],
    settings: StudySettings,
    folder: Path,
    device: str = "auto",
    progress: Progress = lambda *_: None,
) -> Report:
    """Train and test both arms in every fold; what is in ``folder`` already is not done again.

    Args:
        synthetic: a case whose source is tested in a fold is not trained on there.

    Raises:
        InputError: a case cannot be read, a fold has nothing to train on, or the folder holds another study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_same(folder / "settings.json", settings, real, synthetic)
    samples, chosen = _Samples(settings), resolve_device(device)
    folds = sorted({case.fold for case in real})
    dice: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for index, (fold, arm) in enumerate((fold, arm) for fold in folds for arm in ARMS):
        training, test = split(real, synthetic if arm == ARMS[1] else (), fold, settings)
        path = folder / f"fold{fold}_{arm.replace(' ', '_')}.json"
        if not path.is_file():
            network = train_segmenter([samples.of(c) for c in training], settings, chosen)
            found = [{"case": c.name, "fold": c.fold, "dice": dice_of(network, samples.of(c), settings)} for c in test]
            write_json(path, {"fold": fold, "arm": arm, "trained_on": [c.name for c in training], "dice": found})
        dice[arm] += json.loads(path.read_text(encoding="utf-8"))["dice"]
        progress("trainings", index + 1, len(folds) * len(ARMS))
    return study_report(dice, settings, real, synthetic)


def split(
    real: Sequence[StudyCase], synthetic: Sequence[StudyCase], fold: int, settings: StudySettings
) -> tuple[list[StudyCase], list[StudyCase]]:
    """Cases to train on and to test in a fold; synthetic ones up to ``ratio`` for each real one, none of a tested case.

    Raises:
        InputError: nothing is left to train on.
    """
    test = [case for case in real if case.fold == fold]
    kept = [case for case in real if case.fold != fold]
    tested = {case.name for case in test}
    free = [case for case in synthetic if case.source not in tested]
    order = np.random.default_rng((settings.seed, fold)).permutation(len(free))
    added = [free[index] for index in sorted(order[: round(settings.ratio * len(kept))])]
    if not kept or (synthetic and not added):
        raise InputError(f"Fold {fold} has no {'synthetic' if kept else 'real'} cases to train on; give more cases.")
    return [*kept, *added], test


class _Samples:
    """Cases on the study's grid, each read once."""

    def __init__(self, settings: StudySettings) -> None:
        self._settings, self._read = settings, {}

    def of(self, case: StudyCase) -> Sample:
        if case.name not in self._read:
            self._read[case.name] = read_sample(case, self._settings)
        return self._read[case.name]


def _check_same(path: Path, settings: StudySettings, real: Sequence[StudyCase], synthetic: Sequence[StudyCase]) -> None:
    """The folder's study has the same settings and cases, or there is none yet."""
    wanted = {
        "settings": settings.to_json(),
        "real": {case.name: case.fold for case in real},
        "synthetic": {case.name: case.source for case in synthetic},
    }
    if not path.is_file():
        write_json(path, wanted)
    elif json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise InputError(f"{path.parent} holds a study of other settings or cases; choose another folder.")
