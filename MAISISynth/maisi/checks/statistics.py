"""The quality check's bands learned from the user's own CTs, by the rule of the reference (FACTS 4).

An organ's band goes from min(mean - 3 sigma, 0.5th percentile) to max(mean + 3 sigma, 99.5th percentile) of its medians
over the images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maisi.checks.hu import BANDS, MIN_VOXELS, Band, organ_values
from maisi.errors import InputError
from maisi.files import read_image, read_labels
from maisi.geometry import place_on

FEW_IMAGES = 20  # fewer say little about the spread of an organ's median
MIN_IMAGES = 3  # fewer give no band at all


@dataclass(frozen=True)
class OrganStatistics:
    """An organ's median HU over images.

    Attributes:
        medians: one for each image that shows the organ. sigma: standard deviation of the sample.
        p0_5, p99_5: percentiles. low, high: the band.
    """

    name: str
    ids: tuple[int, ...]
    medians: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.medians))

    @property
    def sigma(self) -> float:
        return float(np.std(self.medians, ddof=1))

    @property
    def p0_5(self) -> float:
        return float(np.percentile(self.medians, 0.5))

    @property
    def p99_5(self) -> float:
        return float(np.percentile(self.medians, 99.5))

    @property
    def low(self) -> float:
        return min(self.mean - 3 * self.sigma, self.p0_5)

    @property
    def high(self) -> float:
        return max(self.mean + 3 * self.sigma, self.p99_5)

    def to_json(self) -> dict[str, Any]:
        """All of it as a dictionary, rounded to hundredths of a HU but for the medians."""
        figures = {k: round(getattr(self, k), 2) for k in ("mean", "sigma", "p0_5", "p99_5", "low", "high")}
        return {
            "name": self.name, "ids": list(self.ids), "images": len(self.medians), **figures,
            "medians": list(self.medians),
        }  # fmt: skip


def learn(
    pairs: Sequence[tuple[Path, Path]],
    source: str = "maisi",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[OrganStatistics]:
    """Statistics of the organs of ``BANDS`` over real CTs; organs in fewer than ``MIN_IMAGES`` of them are left out.

    Args:
        source: numbering of the label files. progress: called with ("read", images done, images).

    Raises:
        InputError: a file cannot be read, a pair is on different grids, or no organ is in enough images.
    """
    medians: dict[str, list[float]] = {band.name: [] for band in BANDS}
    for done, (image_path, label_path) in enumerate(pairs, 1):
        image = read_image(image_path)
        labels = place_on(read_labels(label_path, source), image)
        for band, values in zip(BANDS, organ_values(image, labels, [band.ids for band in BANDS]), strict=True):
            if values.size >= MIN_VOXELS:
                medians[band.name].append(float(np.median(values)))
        progress("read", done, len(pairs))
    learned = [
        OrganStatistics(band.name, band.ids, tuple(medians[band.name]))
        for band in BANDS
        if len(medians[band.name]) >= MIN_IMAGES
    ]
    if not learned:
        raise InputError(
            f"No organ is in {MIN_IMAGES} or more of the {len(pairs)} images, so there is nothing to learn."
        )
    return learned


def notices(statistics: Sequence[OrganStatistics]) -> Iterator[str]:
    """What the user should know about the statistics."""
    few = [f"{s.name} ({len(s.medians)})" for s in statistics if len(s.medians) < FEW_IMAGES]
    if few:
        yield f"These ranges rest on fewer than {FEW_IMAGES} images and say little: {', '.join(few)}."
    missing = {band.name for band in BANDS} - {s.name for s in statistics}
    if missing:
        yield f"Not learned, since fewer than {MIN_IMAGES} images show them: {', '.join(sorted(missing))}."


def to_json(statistics: Sequence[OrganStatistics]) -> dict[str, Any]:
    """The statistics as the content of a file that :func:`read_bands` reads."""
    return {"format": "maisi-hu-statistics", "version": 1, "organs": [organ.to_json() for organ in statistics]}


def read_bands(path: str | os.PathLike) -> tuple[Band, ...]:
    """The bands in a statistics file.

    Raises:
        InputError: the file is missing or is none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return tuple(
            Band(organ["name"], tuple(organ["ids"]), float(organ["low"]), float(organ["high"]), reference=False)
            for organ in content["organs"]
        )
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no statistics; make it with: maisi check --learn FOLDER -o FILE.") from error
