"""What a counterfactual series consists of; decided from the label map and the request before anything is computed.

A series has backgrounds (images without a planned lesion) and variations of them, each with one lesion that differs
from the others in known factors: site (kind and organ), size, shape and place. All that is random follows from the
seed, the site and the level of the factor alone, so two cases that share a level share exactly that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist

from maisi.errors import InputError
from maisi.labels import LABELS, remove_lesions
from maisi.masks.lesion import RADIUS_MM, Lesion, random_lesion
from maisi.masks.measure import largest_diameter_mm, volume_ml
from maisi.vary.sites import Site, find_sites, spread_centers
from maisi.volume import LabelVolume

CLASSES = ("all", "lesions")
SIZES_MM = (2.0, 150.0)  # what can be asked for
_DEFAULT_SIZES = (0.2, 0.5, 0.8)  # where in the range of a kind's plausible diameters
_PLACE, _SHAPE = 1, 2  # streams of random numbers


@dataclass(frozen=True)
class SeriesRequest:
    """What the user wants. JSON-able.

    Attributes:
        cases: how many images, those without a lesion included.
        organs: names of organs to place lesions in; (): every organ of the label map that can have one.
        lesions: names of kinds of lesion; (): all tumors that have an organ in the label map, no cysts.
        sizes_mm: largest diameters of the lesions, before clipping; (): small, medium and large for each kind.
        shapes: different shapes for each kind. places: different places in each organ; None: as many as are needed.
        backgrounds: images without a lesion that the variations start from, each of a seed of its own; None: half of
            the cases. With a CT there is one, the CT.
        baselines: whether the backgrounds are cases, too.
        keep_lesions: whether lesions that the label map has stay in the backgrounds; else they are removed from them.
        classes: numbered in the data set: "all" labels there are, or "lesions" only.
        seed: of the first background; the next ones follow; everything random in the plan comes from it.

    Raises:
        InputError: a value cannot be used.
    """

    cases: int
    organs: tuple[str, ...] = ()
    lesions: tuple[str, ...] = ()
    sizes_mm: tuple[float, ...] = ()
    shapes: int = 2
    places: int | None = None
    backgrounds: int | None = None
    baselines: bool = True
    keep_lesions: bool = False
    classes: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("organs", "lesions", "sizes_mm"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists in JSON
        if not 1 <= self.cases <= 100_000:
            raise InputError(f"The number of cases must be from 1 to 100000, got {self.cases}.")
        for name, value in (("shapes", self.shapes), ("places", self.places), ("backgrounds", self.backgrounds)):
            if value is not None and value < 1:
                raise InputError(f"The number of {name} must be at least 1, got {value}.")
        low, high = SIZES_MM
        for size in self.sizes_mm:
            if not low <= size <= high:
                raise InputError(f"The size of a lesion must be from {low:g} to {high:g} mm, got {size:g}.")
        if len(set(self.sizes_mm)) < len(self.sizes_mm):
            raise InputError("Every size needs to be given only once.")
        if self.classes not in CLASSES:
            raise InputError(f"There are no classes {self.classes!r}; available: {', '.join(CLASSES)}.")
        if self.variations < 1:
            raise InputError(
                f"{self.cases} cases with {self.background_count} without a lesion leave none for the lesions; ask for "
                "more cases, fewer backgrounds, or no baselines."
            )

    @property
    def background_count(self) -> int:
        """How many backgrounds there are."""
        return self.backgrounds or max(self.cases // 2, 1)

    @property
    def variations(self) -> int:
        """How many cases have a planned lesion."""
        return self.cases - (self.background_count if self.baselines else 0)

    def on_scan(self) -> SeriesRequest:
        """The same for a CT, which is the one background. Raises InputError: several were asked for."""
        if (self.backgrounds or 1) > 1:
            raise InputError("With a CT there is one background, the CT; give no number of backgrounds.")
        return replace(self, backgrounds=1)

    def to_json(self) -> dict[str, Any]:
        """The request as a dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SeriesRequest:
        """Inverse of :meth:`to_json`. Raises InputError for names that are none."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"A series has no property {', '.join(sorted(unknown))}.")
        return cls(**values)


@dataclass(frozen=True)
class Variation:
    """One planned lesion and the levels of the factors that it stands for.

    Attributes:
        organ: name of the label at its centre. place, shape: number within its site. size_mm: largest diameter.
        diameter_mm, volume_ml: largest diameter and volume of its voxels, after clipping.
        clipped: fraction of it that lies outside its host organs and is cut off.
    """

    lesion: Lesion
    organ: str
    place: int
    shape: int
    size_mm: float
    diameter_mm: float
    volume_ml: float
    clipped: float


@dataclass(frozen=True)
class Item:
    """One case of the series.

    Attributes:
        case: its name in the data set. background: number of its background. seed: of the synthesis, the same for all
            cases of a background. variation: the lesion, or None for the background itself.
    """

    case: str
    background: int
    seed: int
    variation: Variation | None = None

    def to_json(self) -> dict[str, Any]:
        """The item as a dictionary."""
        found = self.variation
        lesion = found and {**_factors(found), "lesion": found.lesion.to_json()}
        return {"case": self.case, "background": self.background, "seed": self.seed, "variation": lesion}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Item:
        """Inverse of :meth:`to_json`."""
        found = values["variation"]
        variation = found and Variation(**{**found, "lesion": Lesion.from_json(found["lesion"])})
        return cls(values["case"], values["background"], values["seed"], variation)


def plan_series(labels: LabelVolume, request: SeriesRequest) -> list[Item]:
    """The cases of a series on ``labels``: each background, followed by its variations.

    The variations run through all combinations of the factors in such an order that a series of any length is
    balanced; they are dealt out to the backgrounds in turn.

    Raises:
        InputError: an organ or lesion is unknown or not there, the factors give too few combinations, an organ has too
            little room, or a lesion is smaller than the voxels.
    """
    base = background_labels(labels, request)
    variations = _plan_variations(base, request)
    count = request.background_count
    found = [
        (background, variation)
        for background in range(count)
        for variation in [*([None] if request.baselines else []), *variations[background::count]]
    ]
    digits = max(4, len(str(len(found))))
    return [
        Item(f"vary_{number:0{digits}d}", background, (request.seed + background) % 2**63, variation)
        for number, (background, variation) in enumerate(found, 1)
    ]


def background_labels(labels: LabelVolume, request: SeriesRequest) -> LabelVolume:
    """The label map of the backgrounds: ``labels``, without lesions unless they are to be kept."""
    return labels if request.keep_lesions else LabelVolume(remove_lesions(labels.array), labels.affine)


def _plan_variations(base: LabelVolume, request: SeriesRequest) -> list[Variation]:
    sites = find_sites(base, request.organs, request.lesions)
    smallest, voxel = min(min(_sizes(site, request)) for site in sites), max(base.spacing)
    if smallest < voxel:
        raise InputError(
            f"A lesion of {smallest:g} mm is smaller than a voxel of {voxel:.1f} mm; ask for larger sizes."
        )
    levels = len(request.sizes_mm or _DEFAULT_SIZES)
    for_each_place = len(sites) * levels * request.shapes
    places = request.places or ceil(request.variations / for_each_place)
    if request.variations > places * for_each_place:
        raise InputError(
            f"{len(sites)} kinds of lesion, {levels} sizes, {request.shapes} shapes and {places} places give only "
            f"{places * for_each_place} different lesions, not {request.variations}; ask for fewer cases or more "
            "sizes, shapes or places."
        )
    combinations = [  # all factors change early, so that a short series has some of each level, too
        (place, (shape + level) % request.shapes, (level + site) % levels, site)
        for place, shape, level, site in product(range(places), range(request.shapes), range(levels), range(len(sites)))
    ][: request.variations]
    used = max(place for place, *_ in combinations) + 1
    centers = [_centers(base, site, used, request) for site in sites]
    return [
        _vary(base, sites[site], centers[site][place], place, shape, _sizes(sites[site], request)[level], request.seed)
        for place, shape, level, site in combinations
    ]


def _sizes(site: Site, request: SeriesRequest) -> Sequence[float]:
    """Largest diameters in mm."""
    low, high = (2 * radius for radius in RADIUS_MM[site.kind])
    return request.sizes_mm or [round(low + part * (high - low)) for part in _DEFAULT_SIZES]


def _centers(base: LabelVolume, site: Site, count: int, request: SeriesRequest) -> np.ndarray:
    """``[count, 3]`` RAS mm; deep enough for the largest size, as the smaller ones stand at the same places."""
    rng = np.random.default_rng([request.seed, _PLACE, site.kind, *site.hosts])
    return spread_centers(base, site, max(_sizes(site, request)) / 2, count, rng)


def _vary(
    base: LabelVolume, site: Site, center: np.ndarray, place: int, shape: int, size_mm: float, seed: int
) -> Variation:
    drawn = _shape(site.kind, seed, shape)
    lesion = replace(drawn, center=tuple(center), radii=tuple(size_mm * radius for radius in drawn.radii))
    mask, box = lesion.rasterize_box(base.shape, base.affine)
    grown = mask & np.isin(base.array[box], (*LABELS[site.kind].hosts, site.kind))
    index = np.rint(np.linalg.solve(base.affine, [*center, 1])[:3]).astype(int)
    return Variation(
        lesion=lesion,
        organ=LABELS[int(base.array[tuple(index)])].name,
        place=place,
        shape=shape,
        size_mm=float(size_mm),
        diameter_mm=round(largest_diameter_mm(grown, base.affine), 1),
        volume_ml=round(volume_ml(grown, base.affine), 3),
        clipped=round(1 - np.count_nonzero(grown) / np.count_nonzero(mask), 3),
    )


@lru_cache(maxsize=256)
def _shape(kind: int, seed: int, number: int) -> Lesion:
    """A random lesion with a largest diameter of 1 mm, of which only the shape counts: its host is one voxel."""
    host = np.zeros((3, 3, 3), np.uint8)
    host[1, 1, 1] = LABELS[kind].hosts[0]
    rng = np.random.default_rng([seed, _SHAPE, kind, number])
    drawn = random_lesion(LabelVolume(host, np.eye(4)), kind, rng, radius_mm=1.0)
    surface, _ = drawn.surface()
    return drawn.stretched([1 / pdist(surface).max()] * 3)


def _factors(variation: Variation) -> dict[str, Any]:
    return {field.name: getattr(variation, field.name) for field in fields(variation) if field.name != "lesion"}
