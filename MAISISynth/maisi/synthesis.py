"""The main job: label map in, CT out, on the user's own grid; and the same for an edited region of an existing CT."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import ndimage

from maisi.body import with_body
from maisi.checks.hu import check_hu
from maisi.decoding import AIR_HU, decode
from maisi.devices import resolve_device
from maisi.errors import InputError, OutOfMemoryError
from maisi.models.variants import get_variant
from maisi.models.weights import Networks, load_networks
from maisi.planning import estimate
from maisi.sampling.sampler import Progress, check_cancelled, initial_noise, sample_latents
from maisi.volume import ImageVolume, LabelVolume


@dataclass(frozen=True)
class SynthesisResult:
    """A CT and how it came about.

    Attributes:
        image: HU on exactly the grid of the labels given.
        info: JSON-able: model, model_sha256, device, seed, steps, seconds, notices, checks.
    """

    image: ImageVolume
    info: dict[str, Any] = field(default_factory=dict)


def synthesize(
    labels: LabelVolume,
    *,
    model: str = "embedded",
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SynthesisResult:
    """A CT for a label map.

    Args:
        labels: MAISI ids on any grid; a missing body (200) is added and told in the notices.
        model: name of a model. seed: same seed, device and labels give the same image.
        steps: network evaluations (None: the model's default). device: see :func:`maisi.devices.resolve_device`.
        progress: called with (stage, step, total); stages "load", "sample", "decode", "check".
        cancelled: asked between steps.

    Raises:
        InputError: labels, grid, model, device or steps cannot be used. WeightsError: the model's file is unusable.
        OutOfMemoryError: before the start, or when the device runs out all the same. Cancelled: on request.
    """
    progress, cancelled = progress or (lambda *_: None), cancelled or (lambda: False)
    started = time.monotonic()
    _check_request(labels, seed, steps)
    variant = get_variant(model)
    steps = steps or variant.schedule.steps
    expected = estimate(labels.shape, labels.affine, model, device, steps)
    expected.check()
    complete, notice = with_body(labels)
    check_cancelled(cancelled)
    progress("load", 0, 1)
    networks = _networks(model, expected.device)
    progress("load", 1, 1)
    grid_labels = expected.plan.labels_to_model(complete)
    with _memory_errors(expected.device):
        noise = initial_noise(seed, grid_labels.shape)
        latents = sample_latents(networks, grid_labels, noise, steps, progress, cancelled)
        progress("decode", 0, 1)
        grid_image = decode(networks, latents, grid_labels)
    progress("decode", 1, 1)
    check_cancelled(cancelled)
    image = _on_user_grid(expected.plan.image_to_user(grid_image), complete)
    progress("check", 0, 1)
    checks = [asdict(reading) for reading in check_hu(image, complete)]
    progress("check", 1, 1)
    info = {
        "model": variant.name,
        "model_sha256": variant.weights[0].sha256,
        "device": expected.device,
        "seed": seed,
        "steps": steps,
        "seconds": round(time.monotonic() - started, 2),
        "notices": [*([notice] if notice else []), *expected.notices],
        "checks": checks,
    }
    return SynthesisResult(image, info)


def edit(
    image: ImageVolume,
    before: LabelVolume,
    after: LabelVolume,
    *,
    margin_mm: float = 8.0,
    **options: Any,
) -> SynthesisResult:
    """``image`` with the region where the labels changed synthesized anew.

    Inside the changed region the new CT is taken; across ``margin_mm`` around it both are blended; beyond, every voxel
    is bit-identical to ``image``. Use the seed of the first synthesis for a seamless border.

    Args:
        image, before, after: on one grid. options: as for :func:`synthesize`.

    Returns:
        The result, dtype of ``image``; ``info`` also has ``edited_voxels`` and ``blended_voxels``.

    Raises:
        InputError: different grids, or nothing changed; and all that :func:`synthesize` raises.
    """
    for volume, name in ((before, "label map before the edit"), (after, "label map after the edit")):
        if not volume.same_grid(image):
            raise InputError(f"The {name} and the CT are on different grids; resample one to the other first.")
    changed = before.array != after.array
    if not changed.any():
        raise InputError("Nothing was edited: the two label maps are the same.")
    complete, notice = with_body(after, image)
    fresh = synthesize(complete, **options)
    weight, box = _blend_weight(changed, image.spacing, margin_mm)
    old, new = image.array[box].astype(np.float32), fresh.image.array[box].astype(np.float32)
    blended = old + weight * (new - old)
    if np.issubdtype(image.array.dtype, np.integer):
        blended = np.rint(blended)
    result = image.array.copy()
    result[box] = np.where(weight > 0, blended.astype(image.array.dtype), image.array[box])
    edited = ImageVolume(result, image.affine)
    info = {
        **fresh.info,
        "notices": [*([notice] if notice else []), *fresh.info["notices"]],
        "checks": [asdict(reading) for reading in check_hu(edited, after)],
        "edited_voxels": int(changed.sum()),
        "blended_voxels": int((weight > 0).sum()),
    }
    return SynthesisResult(edited, info)


def _check_request(labels: LabelVolume, seed: int, steps: int | None) -> None:
    if not labels.array.any():
        raise InputError("The label map is empty: there is nothing to synthesize; draw or map at least one organ.")
    if not 0 <= seed < 2**63:
        raise InputError(f"The seed must be a whole number from 0 to 2^63 - 1, got {seed}.")
    if steps is not None and not 1 <= steps <= 1000:
        raise InputError(f"The number of steps must be from 1 to 1000, got {steps}.")


@lru_cache(maxsize=1)
def _networks(model: str, device: str) -> Networks:
    """The networks of the last model used stay loaded."""
    return load_networks(get_variant(model), resolve_device(device))


@contextmanager
def _memory_errors(device: str):
    """Turn the several ways in which torch runs out of memory into one."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise OutOfMemoryError(
            f"The memory of {device} ran out during the synthesis; crop the segmentation or use a coarser spacing."
        ) from error


def _on_user_grid(image: ImageVolume, labels: LabelVolume) -> ImageVolume:
    """int16, and air wherever the user's own label map says background."""
    hu = np.rint(image.array).astype(np.int16)
    hu[labels.array == 0] = AIR_HU
    return ImageVolume(hu, labels.affine)


def _blend_weight(changed: np.ndarray, spacing: np.ndarray, margin_mm: float) -> tuple[np.ndarray, tuple[slice, ...]]:
    """1 where labels changed, falling smoothly to 0 at ``margin_mm`` from there; and the box outside which it is 0."""
    reach = np.ceil(margin_mm / spacing).astype(int) + 1
    found = ndimage.find_objects(changed.astype(np.uint8))[0]
    box = tuple(
        slice(max(0, s.start - r), min(n, s.stop + r)) for s, r, n in zip(found, reach, changed.shape, strict=True)
    )
    distance = ndimage.distance_transform_edt(~changed[box], sampling=spacing)
    ramp = (1 - distance / margin_mm).clip(0, 1) if margin_mm > 0 else (distance == 0).astype(float)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32), box
