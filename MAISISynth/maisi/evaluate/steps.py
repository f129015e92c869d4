"""How many network calls does a solver need? Each against a very fine solution from the same noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maisi.errors import InputError
from maisi.evaluate.report import Report, number
from maisi.labels import LESIONS
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.models.variants import get_variant
from maisi.options import SOLVERS, Options
from maisi.planning import network_calls
from maisi.synthesis import SynthesisResult, synthesize
from maisi.volume import LabelVolume


@dataclass(frozen=True)
class Way:
    """A solver and its steps; ``calls``: of the network, for one image."""

    solver: str
    steps: int

    def options(self, base: Options) -> Options:
        """``base`` in this way. Raises InputError: it cannot be used."""
        return replace(base, solver=self.solver, steps=self.steps)

    def calls(self, base: Options) -> int:
        return network_calls(self.options(base), get_variant(base.model).schedule)


FINE = Way("heun", 60)
TRIED = (
    *(Way("euler", steps) for steps in (5, 10, 20, 30, 50)),
    *(Way("adams-bashforth", steps) for steps in (6, 8, 10, 12, 15)),
    *(Way("heun", steps) for steps in (4, 6, 8)),
)
_TUMOR = 26


def read_way(text: str) -> Way:
    """``"euler:30"``. Raises InputError: it is not a solver and a number."""
    solver, _, steps = text.partition(":")
    if solver not in SOLVERS or not steps.isdecimal() or not int(steps):
        raise InputError(f"{text!r} is not a solver and its steps such as euler:30; solvers: {', '.join(SOLVERS)}.")
    return Way(solver, int(steps))


def phantoms_with_tumor(count: int, size: int, spacing_mm: float = 3.0) -> list[LabelVolume]:
    """Procedural anatomies of ``size`` voxels along each axis, with one tumor in the liver."""
    made = []
    for seed in range(count):
        labels = phantom(seed=seed, shape=(size,) * 3, spacing=(spacing_mm,) * 3)
        made.append(add_lesion(labels, random_lesion(labels, _TUMOR, np.random.default_rng(seed), radius_mm=15)))
    return made


def evaluate_steps(
    cases: Sequence[LabelVolume],
    options: Options,
    tried: Sequence[Way] = TRIED,
    fine: Way = FINE,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Distance of each way to the fine solution, over label maps; the seed is the number of the map.

    Args:
        options: model, time grid, precision, device; solver and steps are those of the ways.

    Raises:
        InputError: there is no label map, or a way does not fit the model; and what a synthesis raises.
    """
    if not cases:
        raise InputError("There is no label map to try the solvers on.")
    found: dict[Way, list[dict[str, float]]] = {way: [] for way in tried}
    for number_, labels in enumerate(cases):
        seeded = replace(options, seed=options.seed + number_)
        best = _synthesize(labels, fine.options(seeded))
        for done, way in enumerate(tried, 1):
            started = time.perf_counter()
            result = _synthesize(labels, way.options(seeded))
            seconds = time.perf_counter() - started
            found[way].append({**compare(result, best, labels), "seconds": seconds})
            progress(f"case {number_ + 1}", done, len(tried))
    return _report(found, cases, options, fine)


def compare(result: SynthesisResult, fine: SynthesisResult, labels: LabelVolume) -> dict[str, float]:
    """Root mean square difference of the latents over their deviation, mean absolute difference in HU where there are
    labels, and absolute difference of the mean HU of all lesions (NaN where there is none)."""
    hu = result.image.array.astype(float) - fine.image.array
    lesions = np.isin(labels.array, LESIONS)
    return {
        "latents": float(np.sqrt(((result.latents - fine.latents) ** 2).mean()) / fine.latents.std()),
        "hu": float(np.abs(hu[labels.array > 0]).mean()),
        "lesion_hu": float(abs(hu[lesions].mean())) if lesions.any() else float("nan"),
    }


def _synthesize(labels: LabelVolume, options: Options) -> SynthesisResult:
    return synthesize(labels, **options.to_json())


def _report(
    found: dict[Way, list[dict[str, float]]], cases: Sequence[LabelVolume], options: Options, fine: Way
) -> Report:
    rows: list[Sequence[str]] = [("SOLVER", "STEPS", "CALLS", "LATENTS", "HU", "LESION HU", "SECONDS")]
    ways = list(_means(found, options))
    for way in ways:
        figures = (
            number(way[name], digits) for name, digits in (("latents", 4), ("hu", 2), ("lesion_hu", 2), ("seconds", 1))
        )
        rows.append((way["solver"], str(way["steps"]), str(way["calls"]), *figures))
    variant = get_variant(options.model)
    settings = {"model": variant.name, "model_sha256": variant.checksum, "options": options.to_json()}
    shapes = [list(labels.shape) for labels in cases]
    fine_way = {"solver": fine.solver, "steps": fine.steps, "calls": fine.calls(options)}
    return Report("steps", rows, {**settings, "fine": fine_way, "cases": len(cases), "shapes": shapes, "ways": ways})


def _means(found: dict[Way, list[dict[str, float]]], options: Options) -> Iterator[dict[str, Any]]:
    for way, values in found.items():
        mean = {name: float(np.mean([value[name] for value in values])) for name in values[0]}
        known = {name: None if np.isnan(value) else value for name, value in mean.items()}  # JSON has no NaN
        yield {"solver": way.solver, "steps": way.steps, "calls": way.calls(options), **known}
