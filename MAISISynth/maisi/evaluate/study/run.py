"""The study itself: in each fold a training on real cases and one on real and synthetic ones, and the paired test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from maisi.devices import resolve_device
from maisi.errors import InputError
from maisi.evaluate.report import Report, number
from maisi.evaluate.study.cases import StudyCase
from maisi.evaluate.study.segmenter import Sample, dice_of, read_sample, train_segmenter
from maisi.evaluate.study.settings import ARMS, StudySettings
from maisi.files import write_json

Progress = Callable[[str, int, int], None]
FEW_CASES = 10  # pairs; a test of fewer says little


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
    samples = _Samples(settings)
    folds = sorted({case.fold for case in real})
    dice: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for index, (fold, arm) in enumerate((fold, arm) for fold in folds for arm in ARMS):
        training, test = split(real, synthetic if arm == ARMS[1] else (), fold, settings)
        path = folder / f"fold{fold}_{arm.replace(' ', '_')}.json"
        if not path.is_file():
            network = train_segmenter([samples.of(c) for c in training], settings, resolve_device(device))
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


def study_report(
    dice: dict[str, list[dict[str, Any]]],
    settings: StudySettings,
    real: Sequence[StudyCase],
    synthetic: Sequence[StudyCase],
) -> Report:
    """Dice by class and fold of both arms, and tests over the pairs of a case's values in both.

    Args:
        dice: arm -> one ``{"case", "fold", "dice": [one for each class, or None]}`` for each case, in one order.
    """
    folds = sorted({row["fold"] for row in dice[ARMS[0]]})
    rows: list[Sequence[str]] = [
        ("CLASS", "ARM", *(f"FOLD {fold}" for fold in folds), "MEAN", "CASES", "DIFFERENCE", "WILCOXON P", "T-TEST P")
    ]
    classes = {}
    for index, name in enumerate(settings.names):
        pairs = np.array(
            [
                [dice[arm][row]["dice"][index] for arm in ARMS]
                for row in range(len(dice[ARMS[0]]))
                if dice[ARMS[0]][row]["dice"][index] is not None
            ]
        ).reshape(-1, 2)
        found = paired_test(pairs)
        for column, arm in enumerate(ARMS):
            by_fold = {fold: _mean([r["dice"][index] for r in dice[arm] if r["fold"] == fold]) for fold in folds}
            found[arm] = {"mean": found["means"][column], "folds": by_fold}
            tests = (
                ("", "", "")
                if column == 0
                else (number(found["difference"], 3), *map(_p, (found["wilcoxon_p"], found["t_test_p"])))
            )
            figures = [number(value, 3) for value in (*by_fold.values(), found["means"][column])]
            rows.append((name if column == 0 else "", arm, *figures, str(len(pairs)), *tests))
        classes[name] = {key: value for key, value in found.items() if key != "means"}
    result = {
        "settings": settings.to_json(),
        "cases": {"real": len(real), "synthetic": len(synthetic)},
        "classes": classes,
        "details": dice,
    }
    return Report("study", rows, result, _notices(classes, synthetic))


def paired_test(pairs: np.ndarray) -> dict[str, Any]:
    """Wilcoxon's signed-rank test and the paired t-test, two-sided.

    Args:
        pairs: ``[n, 2]``.

    Returns:
        ``n``, ``means`` of both columns, ``difference`` of the means (second less first), ``wilcoxon_p`` and
        ``t_test_p``: None where there are fewer than two pairs; 1 where all pairs are equal.
    """
    count = len(pairs)
    means = pairs.mean(0).tolist() if count else [None, None]
    found = {"n": count, "means": means, "difference": means[1] - means[0] if count else None}
    if count < 2:
        return {**found, "wilcoxon_p": None, "t_test_p": None}
    first, second = pairs.T
    if np.array_equal(first, second):
        return {**found, "wilcoxon_p": 1.0, "t_test_p": 1.0}
    spread = np.ptp(second - first) > 0
    t_test = float(stats.ttest_rel(second, first).pvalue) if spread else 0.0  # the same difference everywhere
    return {**found, "wilcoxon_p": float(stats.wilcoxon(second, first).pvalue), "t_test_p": t_test}


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


def _notices(classes: dict[str, Any], synthetic: Sequence[StudyCase]) -> list[str]:
    notices = []
    few = [f"{name} ({found['n']})" for name, found in classes.items() if found["n"] < FEW_CASES]
    if few:
        notices.append(f"Tests of fewer than {FEW_CASES} cases say little: {', '.join(few)}.")
    unknown = sum(case.source is None for case in synthetic)
    if unknown:
        notices.append(
            f'{unknown} synthetic cases do not tell which real case they were made from (an entry "source" in a data '
            "list), so they are used in every fold; where they show the anatomy of tested cases, Dice is too high."
        )
    return notices


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
