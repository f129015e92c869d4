"""What was found in a data set, for people and for the module's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from maisi.labels import LABELS
from maisi.train.prepare.cases import Case
from maisi.train.prepare.check import DROPPED, Checked

_EXAMPLES = 3
ROWS_SHOWN = 40
HEADINGS = ("CASE", "SIZE", "SPACING MM", "VALUES", "LABELS", "USED", "FOUND")


def to_json(cases: Sequence[Case], checked: Sequence[Checked]) -> dict[str, Any]:
    """``{"cases": [...], "summary": {...}}``: each case with its files, what was found, and whether it is used."""
    rows = [{**case.to_json(), **asdict(look), "used": look.usable} for case, look in zip(cases, checked, strict=True)]
    used = [look for look in checked if look.usable]
    labels = Counter(LABELS[i].name for look in used for i in look.ids)
    return {
        "summary": {
            "cases": len(checked),
            "used": len(used),
            "dropped": dict(Counter(f.kind for look in checked for f in look.findings if f.level == DROPPED)),
            "folds": dict(
                sorted(Counter(str(case.fold) for case, c in zip(cases, checked, strict=True) if c.usable).items())
            ),
            "labels": dict(labels.most_common()),
        },
        "cases": rows,
    }


def rows(checked: Sequence[Checked]) -> list[tuple[str, ...]]:
    """A table of the cases in which something was found, the dropped ones first; the first of many."""
    found = sorted((look for look in checked if look.findings), key=lambda look: look.usable)
    more = len(found) - ROWS_SHOWN
    return [HEADINGS, *map(_row, found[:ROWS_SHOWN]), *([(f"and {more} more",) + ("",) * 6] if more > 0 else [])]


def _row(look: Checked) -> tuple[str, ...]:
    size = " x ".join(map(str, look.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in look.spacing)
    values = " to ".join(f"{v:.4g}" for v in look.hu)
    kinds = ", ".join(dict.fromkeys(finding.kind for finding in look.findings))
    return (look.id, size, spacing, values, str(len(look.ids)), "yes" if look.usable else "NO", kinds)


def sentences(checked: Sequence[Checked]) -> Iterator[str]:
    """Each thing that was found, once, with the cases it was found in."""
    found: dict[tuple[str, str], list[str]] = {}
    for look in checked:
        for finding in look.findings:
            found.setdefault((finding.level, finding.text), []).append(look.id)
    for (level, text), ids in sorted(found.items()):
        names = ", ".join(ids[:_EXAMPLES]) + (f" and {len(ids) - _EXAMPLES} more" if len(ids) > _EXAMPLES else "")
        yield f"{'Dropped: ' if level == DROPPED else ''}{names}: {text}"
