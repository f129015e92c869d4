"""An edit computed only where it is: a window of latents, the tiles around the change, the voxels of its margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from maisi.decoding import decode, decode_box, encode
from maisi.engine import loaded_networks, memory_errors, on_device
from maisi.errors import InputError
from maisi.geometry import GridPlan, plan_grid
from maisi.labels import BACKGROUND
from maisi.models.networks import COMPRESSION
from maisi.models.variants import get_variant
from maisi.models.weights import Networks
from maisi.options import Options
from maisi.planning import Plan, plan_on
from maisi.runs import Run
from maisi.sampling.conditions import Target
from maisi.sampling.local import Region, region_of, sample_change
from maisi.sampling.sampler import Progress, initial_noise
from maisi.sampling.trajectory import Patched, Straight
from maisi.volume import Box, ImageVolume, LabelVolume

CONTEXT = 4  # latents around the window that are encoded with it, so that the encoder's borders lie outside


@dataclass(frozen=True)
class Patch:
    """New values for a part of an image.

    Attributes:
        box: of the user's grid. values: float32 HU there.
        base: what ``values`` would be without the edit where that is not the image itself (see :func:`edit_locally`).
        plan: how it was computed. run: of the new image, where the old one had one.
    """

    box: Box
    values: np.ndarray
    base: np.ndarray | None
    plan: Plan
    run: Run | None


@torch.inference_mode()
def edit_locally(
    image: ImageVolume,
    before: LabelVolume,
    after: LabelVolume,
    needed: Box,
    run: Run | None,
    options: Options,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Patch:
    """New values in ``needed`` and a little around it.

    With the ``run`` that made ``image``, its trajectory is followed and the values are the image's own beside the edit.
    Without (a real CT, a forgotten run) the image is encoded around the edit; since a decoder does not give back what
    was encoded, the caller adds ``values - base`` to the image.

    Args:
        before, after: with body, on the grid of ``image``. needed: box of that grid with all voxels that may change.

    Raises:
        InputError: the edit is smaller than the voxels of the model. WeightsError, OutOfMemoryError, Cancelled.
    """
    grid = run.grid if run else plan_grid(image.shape, image.affine, get_variant(options.model).grid)
    job = _Job.prepare(grid, before, after, needed, run, options)
    progress("load", 0, 1)
    networks = loaded_networks(job.plan, options)
    progress("load", 1, 1)
    with memory_errors(job.plan.device):
        if run is not None:
            return job.from_run(networks, run, after, progress, cancelled)
        return job.from_image(networks, image, progress, cancelled)


@dataclass(frozen=True)
class Window:
    """What is computed for an edit.

    Attributes:
        region: of latents. encoded: box of the model grid around it, ``context`` latents wider where there are any.
    """

    region: Region
    encoded: Box

    @classmethod
    def around(cls, grid: GridPlan, box: Box, context: int = CONTEXT) -> Window:
        """The window for an edit that touches a ``box`` of the model grid."""
        inner = tuple(slice(s.start // COMPRESSION, -(-s.stop // COMPRESSION)) for s in box)
        region = region_of(inner, [n // COMPRESSION for n in grid.model_shape])
        return cls(region, _voxels(_grown(region.box, context, region.shape)))


@dataclass(frozen=True)
class _Job:
    grid: GridPlan
    before: np.ndarray  # uint8 on the model grid
    after: np.ndarray
    region: Region
    plan: Plan
    options: Options

    @classmethod
    def prepare(
        cls, grid: GridPlan, before: LabelVolume, after: LabelVolume, needed: Box, run: Run | None, options: Options
    ) -> _Job:
        model_before = run.model_labels if run else grid.labels_to_model(before).array
        box = grid.box_to_model(needed)
        part, user_box = grid.part(box)
        model_after = model_before.copy()
        model_after[box] = part.labels_to_model(LabelVolume(after.array[user_box], part.user_affine)).array
        changed = model_after[box] != model_before[box]
        if not changed.any():
            spacing = " x ".join(f"{mm:.1f}" for mm in grid.model_spacing)
            raise InputError(
                f"The edit is smaller than the voxels of the model ({spacing} mm), so nothing would change; "
                "make it larger, or use a model with finer voxels."
            )
        window = Window.around(grid, box, 0 if run else CONTEXT)
        plan = plan_on(grid.part(window.encoded)[0], options)
        plan.check()
        return cls(grid, model_before, model_after, window.region, plan, options)

    def from_run(
        self,
        networks: Networks,
        run: Run,
        after: LabelVolume,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> Patch:
        change, states = self._sample(networks, run.trajectory, progress, cancelled)
        latents = run.latents.copy()
        latents[(slice(None), *self.region.box)] += change[0].float().cpu().numpy()
        with on_device(networks, self.plan, "autoencoder"):
            values = decode_box(
                networks,
                torch.from_numpy(latents)[None],
                self.region.inner,
                run.statistics,
                self.after,
                progress=progress,
                cancelled=cancelled,
            )
        values = self._as_scanned(values)
        new = replace(
            run,
            labels=after,
            model_labels=self.after,
            latents=latents,
            trajectory=Patched(run.trajectory, self.region.box, states),
        )
        return self._patch(values, None, new)

    def _as_scanned(self, values: np.ndarray) -> np.ndarray:
        """``values`` of the window with the noise that the whole image has there."""
        noise = get_variant(self.options.model).noise
        if noise is None:
            return values
        box = _voxels(self.region.inner)
        scanned = values + noise.field(self.grid.model_shape, self.options.seed)[box]
        return np.where(self.after[box] == BACKGROUND, values, scanned)

    def from_image(
        self, networks: Networks, image: ImageVolume, progress: Progress, cancelled: Callable[[], bool]
    ) -> Patch:
        place = _grown(self.region.box, CONTEXT, self.region.shape)
        part, user_box = self.grid.part(_voxels(place))
        seen = part.image_to_model(ImageVolume(image.array[user_box], part.user_affine))
        tiles = self.plan.decoding
        with on_device(networks, self.plan, "autoencoder"):
            latents = encode(networks, seen, tiles=tiles and replace(tiles, cuts=()), cancelled=cancelled)
        noise = initial_noise(self.options.seed, self.grid.model_shape)[0][(slice(None), *place)]
        past = Straight(latents[0].cpu() * networks.scale_factor, noise, place)
        change, _states = self._sample(networks, past, progress, cancelled)
        statistics = {}
        with on_device(networks, self.plan, "autoencoder"):
            affine = part.model_affine
            base = decode(networks, latents, affine=affine, tiles=tiles, gathered=statistics, cancelled=cancelled)
            latents[(..., *_within(self.region.box, place))] += change
            core = _within(self.region.inner, place)
            values = decode_box(networks, latents, core, statistics, progress=progress, cancelled=cancelled)
        return self._patch(values, base.array[_voxels(core)], None)

    def _sample(
        self, networks: Networks, past: Patched | Straight, progress: Progress, cancelled: Callable[[], bool]
    ) -> tuple[Tensor, list[Tensor]]:
        before, after = (
            Target(self.grid.model_shape, self.grid.model_spacing, labels) for labels in (self.before, self.after)
        )
        with on_device(networks, self.plan, "unet", "controlnet"):
            return sample_change(
                networks, self.region, past, before, after, self.options, progress, cancelled, self.plan.dtype
            )

    def _patch(self, values: np.ndarray, base: np.ndarray | None, run: Run | None) -> Patch:
        part, user_box = self.grid.part(_voxels(self.region.inner))

        def to_user(array: np.ndarray) -> np.ndarray:
            image = ImageVolume(array.astype(np.float32), part.model_affine)
            return part.image_to_user(image).array

        return Patch(user_box, to_user(values), None if base is None else to_user(base), self.plan, run)


def _grown(box: Box, margin: int, shape: tuple[int, int, int]) -> Box:
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, shape, strict=True))


def _voxels(box: Box) -> Box:
    """A box of latents in voxels of the model grid."""
    return tuple(slice(s.start * COMPRESSION, s.stop * COMPRESSION) for s in box)


def _within(box: Box, place: Box) -> Box:
    """``box`` told from the first corner of ``place``, which holds it."""
    return tuple(slice(s.start - p.start, s.stop - p.start) for s, p in zip(box, place, strict=True))
