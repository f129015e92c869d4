"""The main jobs on the user's own grid: an image for a label map, an image without one (edits: maisi.editing)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from maisi.body import with_body
from maisi.checks.hu import BANDS, COMPATIBLE_BANDS, OrganReading, check_hu
from maisi.decoding import background
from maisi.engine import Made, make_image
from maisi.errors import InputError
from maisi.models.variants import Variant, get_variant
from maisi.options import Options
from maisi.planning import Plan, plan
from maisi.runs import RUNS
from maisi.sampling.sampler import Progress, Start, check_cancelled, check_fit
from maisi.volume import ImageVolume, LabelVolume

RETRY_SEED = 1_000_000  # from one try to the next; far enough not to meet the seeds of other samples of one mask


@dataclass(frozen=True)
class SynthesisResult:
    """An image and how it came about.

    Attributes:
        image: HU (MR: image units) on exactly the grid asked for.
        info: JSON-able: options, model, model_sha256, device, precision, seed, steps, seconds, notices, checks.
        latents: ``[4, i, j, k]`` float32 that the image was decoded from, on the model grid.
    """

    image: ImageVolume
    info: dict[str, Any] = field(default_factory=dict)
    latents: np.ndarray | None = None


def synthesize(
    labels: LabelVolume,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    noise: np.ndarray | None = None,
    latents: np.ndarray | None = None,
    strength: float = 1.0,
    **options: Any,
) -> SynthesisResult:
    """An image for a label map.

    Args:
        labels: MAISI ids on any grid; a missing body (200) is added and told in the notices.
        progress: called with (stage, step, total); stages "load", "sample", "decode", "check".
        cancelled: asked between steps.
        noise, latents, strength: where to begin, see :class:`maisi.sampling.sampler.Start`.
        options: see :class:`maisi.options.Options`.

    Raises:
        InputError: labels, grid, model, device or another option cannot be used. WeightsError: the model's files are
            absent or unusable. OutOfMemoryError: not even the smallest way fits. Cancelled: on request.
    """
    if not labels.array.any():
        raise InputError("The label map is empty: there is nothing to synthesize; draw or map at least one organ.")
    chosen = Options.from_json(options)
    variant = get_variant(chosen.model)
    if "controlnet" not in variant.networks:
        raise InputError(f"The model {variant.name} makes images without a label map only; choose another model.")
    check_fit(variant, chosen)
    check_cancelled(cancelled or (lambda: False))
    expected = plan(labels.shape, labels.affine, chosen)
    complete, notice = with_body(labels)
    job = _Job(variant, expected, complete, Start(noise, latents, strength), progress, cancelled)
    return job.run(chosen, [notice] if notice else [])


def generate(
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    noise: np.ndarray | None = None,
    latents: np.ndarray | None = None,
    strength: float = 1.0,
    **options: Any,
) -> SynthesisResult:
    """An image without a label map (FACTS 2.9), axes right, anterior, superior, first voxel at the origin.

    Args:
        shape: voxels. spacing: mm. The others: as for :func:`synthesize`, which see also for what is raised.
    """
    chosen = Options.from_json(options)
    variant = get_variant(chosen.model)
    check_fit(variant, chosen)
    expected = plan(shape, np.diag([*spacing, 1.0]), chosen)
    job = _Job(variant, expected, None, Start(noise, latents, strength), progress, cancelled)
    return job.run(chosen, [])


class _Job:
    """One image on the user's grid, tried again with other seeds while it fails the quality check."""

    def __init__(
        self,
        variant: Variant,
        expected: Plan,
        labels: LabelVolume | None,
        start: Start,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.variant, self.plan, self.labels, self.start = variant, expected, labels, start
        self.progress = progress or (lambda stage, step, total: None)
        self.cancelled = cancelled or (lambda: False)

    def run(self, options: Options, notices: list[str]) -> SynthesisResult:
        started = time.monotonic()
        attempts = []
        for attempt in range(options.retries + 1):
            tried = replace(options, seed=(options.seed + attempt * RETRY_SEED) % 2**63)
            made = make_image(self.plan, self.labels, tried, self.start, self.progress, self.cancelled)
            image = self._on_user_grid(made, rounded=not options.compatible)
            attempts.append((self._check(image, options), image, made, tried.seed))
            if all(reading.passed for reading in attempts[-1][0]):
                break
        checks, image, made, seed = max(attempts, key=lambda a: sum(r.passed for r in a[0]))  # the first of the best
        if made.run is not None:
            RUNS.remember(image.array, made.run)
        notices = [*notices, *made.plan.notices, *_retry_notices(attempts, seed)]
        info = describe(replace(options, seed=seed), made.plan, started, notices, checks)
        return SynthesisResult(image, {**info, "options": options.to_json()}, made.latents)

    def _check(self, image: ImageVolume, options: Options) -> list[OrganReading]:
        self.progress("check", 0, 1)
        readings = check(image, self.labels, options)
        self.progress("check", 1, 1)
        return readings

    def _on_user_grid(self, made: Made, rounded: bool) -> ImageVolume:
        """The image on the user's grid, int16 if ``rounded``; air wherever the user's own label map says background."""
        image = made.plan.grid.image_to_user(made.image)
        values = np.rint(image.array).astype(np.int16) if rounded else image.array
        if self.labels is not None:
            values[self.labels.array == 0] = background(self.variant)
        return ImageVolume(values, image.affine)


def describe(
    options: Options, made_by: Plan, started: float, notices: Sequence[str], checks: Sequence[OrganReading]
) -> dict[str, Any]:
    """How an image came about, see :class:`SynthesisResult`. ``started``: by ``time.monotonic()``."""
    variant = get_variant(options.model)
    return {
        "options": options.to_json(),
        "model": variant.name,
        "model_sha256": variant.checksum,
        "device": made_by.device,
        "precision": made_by.precision,
        "seed": options.seed,
        "steps": options.steps or variant.schedule.steps,
        "seconds": round(time.monotonic() - started, 2),
        "notices": list(notices),
        "checks": [asdict(reading) for reading in checks],
    }


def check(image: ImageVolume, labels: LabelVolume | None, options: Options) -> list[OrganReading]:
    """The quality check; there is none for MR, nor without a label map."""
    if labels is None or get_variant(options.model).image != "ct":
        return []
    return check_hu(image, labels, COMPATIBLE_BANDS if options.compatible else BANDS)


def _retry_notices(attempts: Sequence[tuple], seed: int) -> list[str]:
    failed = [f"{a[3]} ({', '.join(r.name for r in a[0] if not r.passed)})" for a in attempts if a[3] != seed]
    return [f"The quality check failed with seed {', '.join(failed)}; seed {seed} was taken."] if failed else []
