"""An image with the region where its labels changed synthesized anew; every voxel beyond the margin stays as it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from maisi.body import with_body
from maisi.decoding import background
from maisi.errors import InputError
from maisi.geometry import GridPlan, plan_grid
from maisi.labels import BACKGROUND, BODY, LESIONS
from maisi.local_edit import edit_locally
from maisi.models.networks import COMPRESSION
from maisi.models.variants import get_variant
from maisi.options import Options
from maisi.runs import RUNS, Run
from maisi.sampling.sampler import Progress, check_fit
from maisi.synthesis import SynthesisResult, check, describe, synthesize
from maisi.texture import noise_within, with_own_texture
from maisi.volume import Box, ImageVolume, LabelVolume

SMALLEST_MARGIN_MM = 8.0
NEAR_MM = 25.0  # how far around an edit the host tells its noise
NOT_HU = -50  # no CT of a patient has only values above this


def edit(
    image: ImageVolume,
    before: LabelVolume,
    after: LabelVolume,
    *,
    margin_mm: float | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    **options: Any,
) -> SynthesisResult:
    """``image`` with the region where the labels changed synthesized anew.

    Inside the changed region the new CT is taken; across ``margin_mm`` around it both are blended; beyond, every voxel
    is bit-identical to ``image``. The margin is one latent voxel wide where it is not told, but at least 8 mm: so far a
    change of the latents reaches. The image may be a synthetic one, which is edited best while this process still knows
    its run, or a real CT: what the model changes is then added to it, so that its own noise and contrast stay.

    Args:
        image, before, after: on one grid; labels are needed only around the edit, what is not labelled counts as body.
        progress, cancelled: as for :func:`maisi.synthesis.synthesize`.
        options: see :class:`maisi.options.Options`; seed and model should be those that made ``image``.

    Returns:
        The result, dtype of ``image``; ``info`` also has ``method``, ``margin_mm``, ``edited_voxels`` and
        ``blended_voxels``.

    Raises:
        InputError: different grids, nothing changed, or an image that is not in HU; and all that
            :func:`maisi.synthesis.synthesize` raises.
    """
    started = time.monotonic()
    chosen = Options.from_json(options)
    _check_input(image, before, after, chosen)
    job = _Edit(image, before, after, chosen, progress or (lambda *_: None), cancelled or (lambda: False))
    margin = job.natural_margin if margin_mm is None else margin_mm
    weight, box = _blend_weight(job.changed, image.spacing, margin)
    new = job.locally(box) if job.is_local else job.fully(box)
    weight = weight[_inside(new.box, box)]
    result = image.array.copy()
    result[new.box] = _blended(image.array[new.box], new.values, weight)
    edited = ImageVolume(result, image.affine)
    if new.run is not None:
        RUNS.remember(edited.array, new.run)
    info = {
        **new.info,
        "notices": [*job.notices, *new.info["notices"]],
        "checks": [asdict(reading) for reading in check(edited, after, chosen)],
        "seconds": round(time.monotonic() - started, 2),
        "method": "local" if job.is_local else "full",
        "margin_mm": round(margin, 2),
        "edited_voxels": int(job.changed.sum()),
        "blended_voxels": int((weight > 0).sum()),
    }
    return SynthesisResult(edited, info)


def can_be_local(options: Options) -> bool:
    """Whether an edit may compute its surroundings alone.

    The difference of two images can be integrated only where both come of the same deterministic flow.
    """
    flows = get_variant(options.model).schedule.kind == "rectified_flow"
    return options.method == "local" and flows and not options.compatible


def natural_margin(grid: GridPlan) -> float:
    """mm that a change of one latent voxel reaches."""
    return max(SMALLEST_MARGIN_MM, COMPRESSION * float(grid.model_spacing.mean()))


@dataclass(frozen=True)
class _New:
    """New HU ``values`` for a ``box`` of the image, how they were made, and the run of the new image if it is known."""

    box: Box
    values: np.ndarray
    info: dict[str, Any]
    run: Run | None = None


class _Edit:
    """One edit, done in one of two ways."""

    def __init__(
        self,
        image: ImageVolume,
        before: LabelVolume,
        after: LabelVolume,
        options: Options,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self.image, self.progress, self.cancelled = image, progress, cancelled
        self.changed = before.array != after.array
        self.run = _known_run(image, before, options)
        self.options = _as_in_run(options, self.run) if self.run else options
        self.before, notice = (self.run.labels, None) if self.run else with_body(before, image)
        self.after = _with_same_body(self.before, before, after, self.changed)
        self.notices = [notice] if notice else []

    @property
    def is_local(self) -> bool:
        """Whether only the surroundings of the edit are computed."""
        return can_be_local(self.options)

    @property
    def natural_margin(self) -> float:
        """See :func:`natural_margin`."""
        rules = get_variant(self.options.model).grid
        return natural_margin(self.run.grid if self.run else plan_grid(self.image.shape, self.image.affine, rules))

    def locally(self, box: Box) -> _New:
        """Compute ``box`` and what is needed around it, and nothing else."""
        patch = edit_locally(
            self.image, self.before, self.after, box, self.run, self.options, self.progress, self.cancelled
        )
        info = describe(self.options, patch.plan, 0, patch.plan.remarks, [])
        common = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, patch.box, strict=True))
        values = patch.values[_inside(common, patch.box)]
        if patch.base is None:
            values[self.after.array[common] == BACKGROUND] = background(get_variant(self.options.model))
            return _New(common, values, info, patch.run)
        self.notices.append("There is no kept run of this CT, so the edit started from the CT itself.")
        base = patch.base[_inside(common, patch.box)]
        values = with_own_texture(
            self.image.array[common], base, values, self.changed[common], self._host_noise(common), self.image.spacing
        )
        return _New(common, values, info)

    def _host_noise(self, box: Box) -> float | None:
        """Noise around ``box`` where tissue is of the kind that the edit put in or took out, lesions aside."""
        kinds = np.union1d(self.before.array[self.changed], self.after.array[self.changed])
        kinds = np.setdiff1d(kinds, (BACKGROUND, *LESIONS))
        reach = np.ceil(NEAR_MM / self.image.spacing).astype(int)
        near = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(box, reach, strict=True))
        changed = self.changed[near]
        around = ndimage.distance_transform_edt(~changed, sampling=self.image.spacing) < NEAR_MM
        host = np.isin(self.after.array[near], kinds) & around & ~changed
        return noise_within(self.image.array[near], host, self.image.spacing)

    def fully(self, box: Box) -> _New:
        """Make the whole image anew, with the seed of the old one."""
        settings = {**self.options.to_json(), "retries": 0}
        fresh = synthesize(self.after, progress=self.progress, cancelled=self.cancelled, **settings)
        return _New(box, fresh.image.array[box].astype(np.float32), fresh.info)


def _check_input(image: ImageVolume, before: LabelVolume, after: LabelVolume, options: Options) -> None:
    for volume, name in ((before, "label map before the edit"), (after, "label map after the edit")):
        if not volume.same_grid(image):
            raise InputError(f"The {name} and the CT are on different grids; resample one to the other first.")
    if np.array_equal(before.array, after.array):
        raise InputError("Nothing was edited: the two label maps are the same.")
    variant = get_variant(options.model)
    if "controlnet" not in variant.networks:
        raise InputError(f"The model {variant.name} makes images without a label map only; choose another model.")
    check_fit(variant, options)
    lowest = image.array.min()
    if variant.image == "ct" and lowest > NOT_HU:
        raise InputError(
            f"The CT does not seem to be in Hounsfield units: its smallest value is {lowest:.0f}, but fat has about "
            "-100 and air -1000; rescale it first."
        )


def _known_run(image: ImageVolume, before: LabelVolume, options: Options) -> Run | None:
    """The kept run of ``image``, if it was made by the model that is asked for."""
    run = RUNS.find(image.array)
    if run is None or run.options["model"] != options.model:
        return None
    same = np.isin(run.labels.array[run.labels.array != before.array], (BACKGROUND, BODY)).all()  # the body was added
    return run if same and run.labels.same_grid(image) else None


def _as_in_run(options: Options, run: Run) -> Options:
    """``options`` with all that the run's trajectory depends on taken from the run."""
    ours = {name: getattr(options, name) for name in ("method", "device", "precision", "compiled", "retries")}
    return Options.from_json({**run.options, **ours})


def _with_same_body(complete: LabelVolume, before: LabelVolume, after: LabelVolume, changed: np.ndarray) -> LabelVolume:
    """``after`` with the body of ``complete``, which is ``before`` with one."""
    array = complete.array.copy()
    array[changed] = after.array[changed]
    if not np.array_equal(
        complete.array, before.array
    ):  # the outline is ours: what the user erased does not become a hole in it
        array[changed & (array == BACKGROUND)] = BODY
    return LabelVolume(array, after.affine)


def _blend_weight(changed: np.ndarray, spacing: np.ndarray, margin_mm: float) -> tuple[np.ndarray, Box]:
    """1 where labels changed, falling smoothly to 0 at ``margin_mm`` from there; and the box outside which it is 0."""
    reach = np.ceil(margin_mm / spacing).astype(int) + 1
    found = ndimage.find_objects(changed.astype(np.uint8))[0]
    box = tuple(
        slice(max(0, s.start - r), min(n, s.stop + r)) for s, r, n in zip(found, reach, changed.shape, strict=True)
    )
    distance = ndimage.distance_transform_edt(~changed[box], sampling=spacing)
    ramp = (1 - distance / margin_mm).clip(0, 1) if margin_mm > 0 else (distance == 0).astype(float)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32), box


def _blended(old: np.ndarray, new: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``old`` where the weight is 0, bit for bit; in its dtype."""
    values = old.astype(np.float32)
    values += weight * (new - values)
    if np.issubdtype(old.dtype, np.integer):
        limits = np.iinfo(old.dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return np.where(weight > 0, values.astype(old.dtype), old)


def _inside(box: Box, outer: Box) -> Box:
    """``box`` told from the first corner of ``outer``."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
