"""From items to images. A background is made once; its variations are edits of it, equal to it beyond the margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from maisi.checks.fidelity import RING_MM, grown, ring_of
from maisi.masks.lesion import add_lesion
from maisi.options import Options
from maisi.vary.series import Item
from maisi.volume import ImageVolume, LabelVolume


class Rendered(NamedTuple):
    """A case. ``info``: how the image came about, as ``maisi.synthesis`` tells it, and ``how``: in a word."""

    image: ImageVolume
    labels: LabelVolume
    info: dict[str, Any]
    contrast: dict[str, float]


class Renderer:
    """Makes the images of one series, in any order; the background made last stays in memory."""

    def __init__(
        self,
        scan: ImageVolume | None,
        labels: LabelVolume,
        base: LabelVolume,
        options: Options,
        stored: Callable[[int], ImageVolume | None],
        cancelled: Callable[[], bool],
    ) -> None:
        """``scan``: the CT to vary, or None. ``labels``: of the scan. ``base``: of the backgrounds, on the same grid.

        ``stored`` gives the image of a background that an earlier run wrote, or None.
        """
        self._scan, self._labels, self._base = scan, labels, base
        self._options, self._stored, self._cancelled = options, stored, cancelled
        self._last: tuple[int, ImageVolume] | None = None

    def render(self, item: Item) -> Rendered:
        """The image of ``item``, its labels (MAISI ids) and what was measured in it.

        Raises:
            MaisiError: as ``maisi.synthesis`` does.
        """
        if item.variation is None:
            image, info = self._make_background(item)
            self._last = item.background, image
            return Rendered(image, self._base, info, {})
        background = self._background(item)
        after = add_lesion(self._base, item.variation.lesion)
        image, info = self._vary(background, after, item.seed)
        contrast = measure_contrast(image, background, self._base, after, item.variation.lesion.label)
        return Rendered(image, after, info, contrast)

    def _background(self, item: Item) -> ImageVolume:
        """A synthetic one is made again rather than read: only with the run that made it, its edits are the same."""
        if self._last is None or self._last[0] != item.background:
            image = self._stored(item.background) if self._scan else None
            self._last = item.background, self._make_background(item)[0] if image is None else image
        return self._last[1]

    def _vary(self, background: ImageVolume, after: LabelVolume, seed: int) -> tuple[ImageVolume, dict[str, Any]]:
        """An edit after which the run of the background, and no other, is kept for the next one."""
        from maisi.runs import RUNS

        run = RUNS.find(background.array)
        made = self._edit(background, self._base, after, seed)
        RUNS.clear()
        if run is not None:
            RUNS.remember(background.array, run)
        return made

    def _make_background(self, item: Item) -> tuple[ImageVolume, dict[str, Any]]:
        if self._scan is None:
            return self._synthesize(self._base, item.seed)
        if not np.array_equal(self._labels.array, self._base.array):
            return self._edit(self._scan, self._labels, self._base, item.seed)
        from maisi.checks.hu import check_hu

        checks = [asdict(reading) for reading in check_hu(self._scan, self._labels)]
        return self._scan, {"how": "the CT itself", "notices": [], "checks": checks}

    def _synthesize(self, labels: LabelVolume, seed: int) -> tuple[ImageVolume, dict[str, Any]]:
        from maisi import synthesis

        result = synthesis.synthesize(labels, **self._settings(seed))
        return result.image, {"how": "synthesized", **result.info}

    def _edit(
        self, image: ImageVolume, before: LabelVolume, after: LabelVolume, seed: int
    ) -> tuple[ImageVolume, dict[str, Any]]:
        from maisi import editing

        result = editing.edit(image, before, after, **self._settings(seed))
        return result.image, {"how": "edited", **result.info}

    def _settings(self, seed: int) -> dict[str, Any]:
        return {**self._options.to_json(), "seed": seed, "cancelled": self._cancelled, "progress": _no_progress}


def measure_contrast(
    image: ImageVolume, background: ImageVolume, base: LabelVolume, after: LabelVolume, kind: int
) -> dict[str, float]:
    """How a lesion shows, in HU; empty where it has no surroundings in its host organs.

    Returns:
        ``lesion_hu``: mean inside. ``contrast_hu``: that minus the mean of its host organs within ``RING_MM`` of it.
        ``change_hu``: that minus the mean of the background at the same voxels: what the lesion alone has done.
    """
    changed = base.array != after.array
    (found,) = ndimage.find_objects(changed.astype(np.uint8))
    box = grown(found, RING_MM, base)
    inside = changed[box]
    ring = ring_of(inside, after.array[box], kind, base.spacing)
    if not ring.any():
        return {}
    lesion = float(image.array[box][inside].mean())
    return {
        "lesion_hu": round(lesion, 1),
        "contrast_hu": round(lesion - float(image.array[box][ring].mean()), 1),
        "change_hu": round(lesion - float(background.array[box][inside].mean()), 1),
    }


def _no_progress(stage: str, step: int, total: int) -> None:
    pass
