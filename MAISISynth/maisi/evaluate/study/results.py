"""What a study found: Dice by class and fold of both arms, and the tests over the cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from maisi.evaluate.report import Report, number
from maisi.evaluate.study.cases import StudyCase
from maisi.evaluate.study.settings import ARMS, StudySettings

FEW_CASES = 10  # pairs; a test of fewer says little
Row = dict[str, Any]  # "case", "fold", and "dice": one for each class, None where the case does not have it


def study_report(
    dice: dict[str, list[Row]], settings: StudySettings, real: Sequence[StudyCase], synthetic: Sequence[StudyCase]
) -> Report:
    """The report of a study.

    Args:
        dice: arm -> a row for each case, the cases of both arms in the same order.
    """
    folds = sorted({row["fold"] for row in dice[ARMS[0]]})
    tests = ("CASES", "DIFFERENCE", "WILCOXON P", "T-TEST P")
    table: list[Sequence[str]] = [("CLASS", "ARM", *(f"FOLD {fold}" for fold in folds), "MEAN", *tests)]
    classes = {name: _class(dice, index, folds) for index, name in enumerate(settings.names)}
    for name, found in classes.items():
        for arm in ARMS:
            values = (*found[arm]["folds"].values(), found[arm]["mean"])
            table.append((name, arm, *(number(value, 3) for value in values), *("" for _ in tests)))
        compared = str(found["n"]), number(found["difference"], 3), _p(found["wilcoxon_p"]), _p(found["t_test_p"])
        table[-1] = (*table[-1][: -len(tests)], *compared)
    counts = {"real": len(real), "synthetic": len(synthetic)}
    result = {"settings": settings.to_json(), "cases": counts, "classes": classes, "details": dice}
    return Report("study", table, result, _notices(classes, synthetic))


def paired_test(pairs: np.ndarray) -> dict[str, Any]:
    """Wilcoxon's signed-rank test and the paired t-test, two-sided.

    Args:
        pairs: ``[n, 2]``.

    Returns:
        ``n``, ``difference`` of the means (second less first), ``wilcoxon_p`` and ``t_test_p``: None where there are
        fewer than two pairs; 1 where both of each pair are equal.
    """
    first, second = pairs.T
    found = {"n": len(pairs), "difference": float(second.mean() - first.mean()) if len(pairs) else None}
    if len(pairs) < 2:
        return {**found, "wilcoxon_p": None, "t_test_p": None}
    if np.array_equal(first, second):
        return {**found, "wilcoxon_p": 1.0, "t_test_p": 1.0}
    varies = np.ptp(second - first) > 0
    t_test = float(stats.ttest_rel(second, first).pvalue) if varies else 0.0  # the same difference in each
    return {**found, "wilcoxon_p": float(stats.wilcoxon(second, first).pvalue), "t_test_p": t_test}


def _class(dice: dict[str, list[Row]], index: int, folds: Sequence[int]) -> dict[str, Any]:
    """Means of both arms over the cases that have the class, by fold and in all, and the tests."""
    seen = {
        arm: [(r["fold"], r["dice"][index]) for r in rows if r["dice"][index] is not None] for arm, rows in dice.items()
    }
    pairs = np.array([[value for _, value in seen[arm]] for arm in ARMS]).T
    found = paired_test(pairs)
    for arm in ARMS:
        by_fold = {fold: _mean([value for of, value in seen[arm] if of == fold]) for fold in folds}
        found[arm] = {"mean": _mean([value for _, value in seen[arm]]), "folds": by_fold}
    return found


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


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
