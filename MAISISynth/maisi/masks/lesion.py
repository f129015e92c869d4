"""Lesions as parameters: an ellipsoid with lobes and spicules that can be moved, grown and reshaped again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS
from maisi.masks.relief import Relief, measured_relief, random_relief
from maisi.masks.sphere import directions, triangles
from maisi.volume import LabelVolume

# Plausible radii in mm of the lesions the embedded model knows.
RADIUS_MM = {23: (4, 22), 24: (5, 18), 26: (5, 30), 27: (7, 20), 128: (5, 15), 129: (6, 26), 116: (6, 22), 117: (6, 22)}
MAX_LOBULATION, MAX_SPICULATION, MAX_NECROSIS = 0.5, 2.0, 0.95

Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid whose radius varies with the direction; the same shape on every grid.

    Attributes:
        label: MAISI id of a lesion. center: RAS mm. radii: mm along the rotated axes.
        rotation: ``[3, 3]``, columns = axes; kept as nested tuples.
        lobulation: standard deviation of the logarithm of the radius: 0 smooth, 0.15 usual, at most 0.5.
        seed: of lobes and spicules.
        spiculation: length of the longest spicules in radii: 0 none, at most 2.
        necrosis: radius of the necrotic core as a fraction of the lesion's: 0 none, at most 0.95. See :attr:`core`.
        relief: measured logarithm of the radius at ``directions(len(relief))``, of a lesion that was painted by hand
            (:func:`maisi.masks.lesion_fit.fit_lesion`); it takes the place of lobes and spicules.

    Raises:
        InputError: a value is out of range or not finite, or the rotation is none.
    """

    label: int
    center: Vector
    radii: Vector
    rotation: np.ndarray | tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    lobulation: float = 0.15
    seed: int = 0
    spiculation: float = 0.0
    necrosis: float = 0.0
    relief: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.label not in LESIONS:
            kinds = ", ".join(f"{i} {LABELS[i].name}" for i in LESIONS)
            raise InputError(f"Label {self.label} is not a lesion; choose one of {kinds}.")
        try:
            arrays = {name: np.array(getattr(self, name), float) for name in ("center", "radii", "rotation", "relief")}
            numbers = {name: float(getattr(self, name)) for name in ("lobulation", "spiculation", "necrosis")}
            seed = int(self.seed)
        except (TypeError, ValueError) as error:
            raise InputError(f"A lesion's parameters must be numbers: {error}.") from error
        _check(arrays, numbers, seed)
        plain = {name: tuple(array.tolist()) for name, array in arrays.items() if name != "rotation"}
        for name, value in {**plain, **numbers, "seed": seed}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "rotation", tuple(map(tuple, arrays["rotation"].tolist())))

    # ---- shape

    @property
    def core(self) -> Lesion | None:
        """The necrotic core as a lesion of its own, or None. No MAISI label means necrosis: it is a second mask."""
        if not self.necrosis:
            return None
        radii = tuple(self.necrosis * r for r in self.radii)
        return replace(self, radii=radii, seed=self.seed + 1, spiculation=0.0, necrosis=0.0, relief=())

    @property
    def volume_ml(self) -> float:
        """Volume in ml, not clipped to any organ."""
        cubes = np.exp(3 * self._relief(directions(2000)))
        return 4 / 3 * np.pi * float(np.prod(self.radii) * cubes.mean()) / 1000

    def surface(self, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
        """``[count, 3]`` RAS mm points of the surface and ``[M, 3]`` indices of its triangles, outward."""
        unit = directions(count)
        offset = unit * np.exp(self._relief(unit))[:, None] * self.radii
        faces = triangles(count)
        turned = np.linalg.det(self.rotation) < 0  # a reflection turns triangles around
        return offset @ np.transpose(self.rotation) + self.center, faces[:, ::-1] if turned else faces

    def rasterize(self, grid: LabelVolume) -> np.ndarray:
        """bool ``[I, J, K]``: the lesion's voxels on the grid of ``grid``, not clipped to any organ."""
        mask = np.zeros(grid.shape, bool)
        inside, box = self.rasterize_box(grid.shape, grid.affine)
        mask[box] = inside
        return mask

    def rasterize_box(self, shape: tuple[int, int, int], affine: np.ndarray) -> tuple[np.ndarray, Box]:
        """The lesion's voxels in a small region of a grid ``[I, J, K]``; any affine.

        Returns:
            A bool array and its place in the grid (three slices); both empty when the lesion is outside the grid.
        """
        inverse = np.linalg.inv(affine)
        middle = inverse[:3, :3] @ self.center + inverse[:3, 3]
        axes = inverse[:3, :3] @ self.rotation * self.radii  # the ellipsoid's half axes in voxels, as columns
        extent = np.exp(self._relief.high) * np.linalg.norm(axes, axis=1)
        low = np.ceil(middle - extent).astype(int).clip(0)
        high = (np.floor(middle + extent).astype(int) + 1).clip(0, shape)
        if (low >= high).any():
            return np.zeros((0, 0, 0), bool), (slice(0, 0),) * 3
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        steps = np.linalg.inv(axes)  # voxel offset -> position in the unit sphere
        offsets = [np.arange(s.start, s.stop) - m for s, m in zip(box, middle, strict=True)]
        i, j, k = np.meshgrid(*offsets, indexing="ij", sparse=True)
        return self._holds(*(step[0] * i + step[1] * j + step[2] * k for step in steps)), box

    @property
    def _relief(self) -> Relief:
        if self.relief:
            return measured_relief(self.relief)
        return random_relief(self.lobulation, self.spiculation, self.seed)

    def _holds(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """bool ``[...]``: whether positions in the frame in which the ellipsoid is the unit sphere are inside."""
        distance = np.sqrt(x * x + y * y + z * z)
        relief = self._relief
        inside = distance < np.exp(relief.low)
        unclear = np.nonzero(~inside & (distance < np.exp(relief.high)))
        far = distance[unclear]
        towards = np.stack([x[unclear], y[unclear], z[unclear]], axis=1) / far[:, None]
        inside[unclear] = far < np.exp(relief(towards))
        return inside

    # ---- operations

    def grown(self, mm: float) -> Lesion:
        """Larger by ``mm`` in every direction (smaller if negative). Raises InputError: nothing would be left."""
        if min(self.radii) + mm <= 0:
            raise InputError(
                f"Shrinking by {-mm:g} mm leaves nothing of a {LABELS[self.label].name} with a radius of "
                f"{min(self.radii):.1f} mm; shrink it less, or remove it."
            )
        return replace(self, radii=tuple(r + mm for r in self.radii))

    def moved(self, vector_mm: Vector) -> Lesion:
        """Moved by a RAS vector in mm."""
        return replace(self, center=tuple(np.add(self.center, vector_mm)))

    def rotated(self, axis: Vector, degrees: float) -> Lesion:
        """Turned about its center around a RAS axis, counterclockwise when the axis points at the viewer."""
        length = np.linalg.norm(axis)
        if not length > 0:
            raise InputError("The axis of a rotation must have a length; give for example (0, 0, 1).")
        turn = Rotation.from_rotvec(np.radians(degrees) * np.asarray(axis, float) / length).as_matrix()
        return replace(self, rotation=turn @ self.rotation)

    def stretched(self, factors: Vector) -> Lesion:
        """Each radius times its factor, along the lesion's own axes."""
        return replace(self, radii=tuple(np.multiply(self.radii, factors)))

    def reshaped(self, seed: int) -> Lesion:
        """The same place, size and roughness with other lobes and spicules; of a painted lesion too."""
        return replace(self, seed=seed, relief=())

    # ---- JSON

    def to_json(self) -> dict[str, Any]:
        """Numbers and lists only, for ``json.dumps``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Lesion:
        """The lesion of :meth:`to_json`. Raises InputError: these are not the parameters of a lesion."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not {"label", "center", "radii"} <= set(values) <= names:
            raise InputError(f"These are not the parameters of a lesion; they are {', '.join(sorted(names))}.")
        return cls(**values)


def _check(arrays: Mapping[str, np.ndarray], numbers: Mapping[str, float], seed: int) -> None:
    """Raise an InputError for what is out of range."""
    shapes = {"center": (3,), "radii": (3,), "rotation": (3, 3), "relief": arrays["relief"].shape[:1]}
    for name, array in arrays.items():
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise InputError(f"The {name} of a lesion must be {shapes[name]} finite numbers.")
    if not (arrays["radii"] > 0).all():
        raise InputError("The radii of a lesion must be greater than 0 mm.")
    if not np.allclose(arrays["rotation"].T @ arrays["rotation"], np.eye(3), atol=1e-4):
        raise InputError("The rotation of a lesion must be a 3x3 matrix of perpendicular unit vectors.")
    limits = {"lobulation": MAX_LOBULATION, "spiculation": MAX_SPICULATION, "necrosis": MAX_NECROSIS}
    for name, limit in limits.items():
        if not 0 <= numbers[name] <= limit:
            raise InputError(f"The {name} of a lesion must be between 0 and {limit}, not {numbers[name]:g}.")
    if seed < 0:
        raise InputError(f"The seed of a lesion must be 0 or more, not {seed}.")


def random_lesion(labels: LabelVolume, label: int, rng: np.random.Generator, radius_mm: float | None = None) -> Lesion:
    """A random lesion of kind ``label`` centred in one of its host organs.

    Raises:
        InputError: ``labels`` has no host organ for it.
    """
    hosts = np.isin(labels.array, LABELS[label].hosts)
    if not hosts.any():
        raise InputError(f"There is no organ here in which a {LABELS[label].name} can be placed.")
    radius = rng.uniform(*RADIUS_MM[label]) if radius_mm is None else radius_mm
    # Centres too near the organ's surface would leave only a sliver after clipping.
    depth = ndimage.distance_transform_edt(hosts, sampling=labels.spacing)
    deep = depth >= min(0.6 * radius, 0.7 * depth.max())
    index = np.argwhere(deep)[rng.integers(deep.sum())]
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return Lesion(
        label=label,
        center=tuple(labels.affine[:3, :3] @ index + labels.affine[:3, 3]),
        radii=tuple(radius * rng.uniform(0.8, 1.25, 3)),
        rotation=rotation,
        lobulation=rng.uniform(0.05, 0.25),
        seed=int(rng.integers(2**31)),
    )


def add_lesion(labels: LabelVolume, lesion: Lesion) -> LabelVolume:
    """``labels`` with the lesion's id on the voxels that its host organs (or an older lesion of its kind) give up.

    Raises:
        InputError: not one voxel of the lesion lies in a host organ.
    """
    label = LABELS[lesion.label]
    mask = lesion.rasterize(labels) & np.isin(labels.array, (*label.hosts, lesion.label))
    if not mask.any():
        raise InputError(f"The {label.name} lies outside the organs in which it can grow; place it inside one of them.")
    array = labels.array.copy()
    array[mask] = lesion.label
    return LabelVolume(array, labels.affine)
