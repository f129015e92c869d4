"""The user's grid and the model's grid: choosing the one, going there, and coming back exactly.

The model grid has the user's own axes, permuted and flipped to the closest right-anterior-superior order, so an oblique
grid stays oblique and is never interpolated for that. Where the spacing suits the model, voxels are only
padded; elsewhere they are resampled. The user's whole field of view is always kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from maisi.errors import InputError
from maisi.labels import BACKGROUND
from maisi.resampling import Resample, linear, nearest
from maisi.volume import Box, ImageVolume, LabelVolume, Volume

AIR_HU = -1000
MIN_FOV_MM, MAX_FOV_MM = 32.0, 2500.0  # outside, a spacing is surely wrong or nothing can be recognised
SAME_SPACING = 1e-3  # relative: spacings this close to a limit count as within it


@dataclass(frozen=True, kw_only=True)
class GridRules:
    """The grids a model accepts (FACTS 2.10, 2.12, 7.1).

    Attributes:
        multiple: every size is a multiple of this. min_size, max_size: voxels along an axis.
        spacing_min, spacing_max: mm along right, anterior, superior.
        recommended_fov_min_mm, recommended_fov_max_mm: in the axial plane; outside there is a notice only.
        max_voxels: of the whole grid.
        trained_sizes: ``[I, J, K]`` the model was trained on (FACTS 2.10, 2.12); others get a notice only. Empty: any.
    """

    spacing_min: tuple[float, float, float]
    spacing_max: tuple[float, float, float]
    multiple: int = 32
    min_size: int = 32
    max_size: int = 512
    recommended_fov_min_mm: float = 0.0
    recommended_fov_max_mm: float = MAX_FOV_MM
    max_voxels: int = 512**3
    trained_sizes: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class GridPlan:
    """How volumes travel between ``user_shape``/``user_affine`` and ``model_shape``/``model_affine``.

    Attributes:
        order: user axis that becomes model axis 0, 1, 2. flips: model axes that run against the user's axis.
        scale, shift: model index ``m`` lies at index ``m * scale + shift`` of the ordered and flipped user grid.
        notices: what the user should know about this grid.
    """

    user_shape: tuple[int, int, int]
    user_affine: np.ndarray
    model_shape: tuple[int, int, int]
    order: tuple[int, int, int]
    flips: tuple[int, ...]
    scale: tuple[float, float, float]
    shift: tuple[float, float, float]
    notices: tuple[str, ...] = ()

    @property
    def resampled(self) -> bool:
        """Whether any spacing changes; if not, going there and back is exact."""
        return self.scale != (1.0, 1.0, 1.0)

    @cached_property
    def model_affine(self) -> np.ndarray:
        """``[4, 4]`` model voxel index -> RAS mm."""
        return _oriented(self.user_shape, self.user_affine, self.order, self.flips) @ _matrix(self.scale, self.shift)

    @property
    def model_spacing(self) -> np.ndarray:
        """``[3]`` mm of the model grid."""
        return np.linalg.norm(self.model_affine[:3, :3], axis=0)

    def labels_to_model(self, labels: LabelVolume) -> LabelVolume:
        """Labels of the user's grid on the model grid: nearest voxel, 0 outside the field of view."""
        return LabelVolume(self._to_model(labels, BACKGROUND, nearest), self.model_affine)

    def image_to_model(self, image: ImageVolume) -> ImageVolume:
        """An image of the user's grid on the model grid: linear (low-passed first where it gets coarser), -1000 HU
        outside the field of view. Keeps the dtype where nothing is resampled, else float32."""
        return ImageVolume(self._to_model(image, AIR_HU, linear), self.model_affine)

    def labels_to_user(self, labels: LabelVolume) -> LabelVolume:
        """Labels of the model grid on the user's grid: nearest voxel."""
        return LabelVolume(self._to_user(labels, BACKGROUND, nearest), self.user_affine)

    def image_to_user(self, image: ImageVolume) -> ImageVolume:
        """An image of the model grid on the user's grid: as in :meth:`image_to_model`."""
        return ImageVolume(self._to_user(image, AIR_HU, linear), self.user_affine)

    def mask_to_user(self, mask: np.ndarray) -> np.ndarray:
        """A boolean ``[I, J, K]`` mask of the model grid on the user's grid: nearest voxel."""
        return self._to_user(Volume(mask, self.model_affine), False, nearest)

    def box_to_model(self, box: Box) -> Box:
        """The smallest box of the model grid around a ``box`` of the user's grid."""
        model = []
        for axis, (size, scale, offset) in enumerate(zip(self.model_shape, self.scale, self.shift, strict=True)):
            user = self.order[axis]
            ends = np.array([box[user].start, box[user].stop - 1], float)
            if axis in self.flips:
                ends = self.user_shape[user] - 1 - ends[::-1]
            low, high = (ends - offset) / scale
            model.append(slice(max(int(np.floor(low)), 0), min(int(np.ceil(high)) + 1, size)))
        return tuple(model)

    def part(self, box: Box) -> tuple[GridPlan, Box]:
        """The plan for a ``box`` of the model grid alone, and the box of the user's grid that goes with it.

        The latter holds every voxel whose neighbours on the model grid lie in ``box``. Near its faces values that are
        resampled differ from those of the whole, because what lies beyond is not seen.
        """
        user, shift = [], []
        for axis, (model, scale, offset) in enumerate(zip(box, self.scale, self.shift, strict=True)):
            count = self.user_shape[self.order[axis]]
            low, high = (end * scale + offset for end in (model.start, model.stop - 1))
            low, high = (int(np.clip(end, 0, count - 1)) for end in (np.floor(low), np.ceil(high)))
            shift.append(model.start * scale + offset - low)
            user.append(slice(count - 1 - high, count - low) if axis in self.flips else slice(low, high + 1))
        user_box = tuple(user[axis] for axis in np.argsort(self.order))
        affine = self.user_affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [s.start for s in user_box]
        part = replace(
            self,
            user_shape=tuple(s.stop - s.start for s in user_box),
            user_affine=affine,
            model_shape=tuple(s.stop - s.start for s in box),
            shift=tuple(shift),
        )
        return part, user_box

    def _to_model(self, volume: Volume, fill: float, resample: Resample) -> np.ndarray:
        _check_grid(volume, self.user_shape, self.user_affine, "the grid that was planned for")
        array = np.flip(volume.array.transpose(self.order), self.flips)
        return np.ascontiguousarray(resample(array, self.model_shape, self.scale, self.shift, fill))

    def _to_user(self, volume: Volume, fill: float, resample: Resample) -> np.ndarray:
        _check_grid(volume, self.model_shape, self.model_affine, "the model grid")
        shape = tuple(self.user_shape[axis] for axis in self.order)
        scale = tuple(1 / s for s in self.scale)
        shift = tuple(-o / s for o, s in zip(self.shift, self.scale, strict=True))
        array = resample(volume.array, shape, scale, shift, fill)
        return np.ascontiguousarray(np.flip(array, self.flips).transpose(np.argsort(self.order)))


def plan_grid(shape: Sequence[int], affine: np.ndarray, rules: GridRules) -> GridPlan:
    """The model grid for a user grid of ``shape`` ``[I, J, K]`` and ``affine`` (index -> RAS mm).

    The spacing is kept where ``rules`` allow it, else the nearest allowed one is taken. A grid with too many voxels
    gets coarser, finest axis first. Sizes are padded up to the multiple, on both sides.

    Raises:
        InputError: a single slice, a field of view under 32 mm or over 2.5 m, or one that does not fit at the coarsest
            spacing of the model; also what :class:`maisi.volume.Volume` refuses.
    """
    grid = Volume(np.broadcast_to(np.uint8(0), tuple(shape)), affine)
    check_extent(grid)
    order, flips = closest_axes(grid.affine)

    count, spacing, fov = (values[list(order)] for values in (np.array(grid.shape), grid.spacing, grid.field_of_view))
    size, wanted = _fit(count, spacing, fov, rules)
    kept = wanted == spacing
    scale = np.where(kept, 1.0, wanted / spacing)
    # Kept axes move by whole voxels; resampled ones share their center with the user's field of view.
    shift = np.where(kept, -((size - count) // 2), (count - 1) / 2 - scale * (size - 1) / 2)
    return GridPlan(
        user_shape=grid.shape,
        user_affine=grid.affine,
        model_shape=tuple(int(n) for n in size),
        order=order,
        flips=flips,
        scale=tuple(float(s) for s in scale),
        shift=tuple(float(s) for s in shift),
        notices=_notices(size, spacing, wanted, kept, fov, rules),
    )


def closest_axes(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes that run closest to right, anterior, superior, in this order; and which of the three run against it."""
    from nibabel.orientations import io_orientation  # here, since the application reads model cards without nibabel

    orientation = io_orientation(affine)
    order = tuple(int(axis) for axis in np.argsort(orientation[:, 0]))
    return order, tuple(towards for towards, axis in enumerate(order) if orientation[axis, 1] < 0)


def place_on(labels: LabelVolume, grid: Volume) -> LabelVolume:
    """``labels`` on ``grid`` when their voxels coincide: other extent, other axis order or other directions, but no
    resampling. Files that hold a cropped segmentation come back to the CT's grid in this way.

    Raises:
        InputError: the voxels do not coincide, or labels lie outside ``grid``.
    """
    if labels.same_grid(grid):
        return labels
    to_grid = np.linalg.solve(grid.affine, labels.affine)[:3]
    steps = np.rint(to_grid)
    drift = np.abs(to_grid - steps) @ [*labels.shape, 1]
    turns = np.abs(steps[:, :3])
    if drift.max() > 0.02 or not (turns.sum(axis=0) == 1).all() or not (turns.sum(axis=1) == 1).all():
        raise InputError("The labels and the CT lie on different grids; resample one to the other.")
    index = np.argwhere(labels.array)
    at = (index @ steps[:, :3].T + steps[:, 3]).astype(int)
    if ((at < 0) | (at >= grid.shape)).any():
        raise InputError("The labels reach beyond the CT; crop them to it or give the CT they were drawn on.")
    placed = np.zeros(grid.shape, np.uint8)
    placed[tuple(at.T)] = labels.array[tuple(index.T)]
    return LabelVolume(placed, grid.affine)


def check_extent(grid: Volume) -> None:
    """Raises InputError for a single slice, or a field of view that no patient has."""
    fov = grid.field_of_view
    told = " x ".join(f"{mm:.0f}" for mm in fov)
    if min(grid.shape) < 2:
        raise InputError(f"A grid of {grid.shape} voxels is a single slice; give a volume of several slices.")
    if fov.min() < MIN_FOV_MM:
        raise InputError(
            f"The field of view is {told} mm, but at least {MIN_FOV_MM:.0f} mm are needed along every axis; "
            "check the spacing or give a larger volume."
        )
    if fov.max() > MAX_FOV_MM:
        raise InputError(
            f"The field of view is {told} mm, more than {MAX_FOV_MM:.0f} mm; check that the spacing is given in mm."
        )


def _fit(count: np.ndarray, spacing: np.ndarray, fov: np.ndarray, rules: GridRules) -> tuple[np.ndarray, np.ndarray]:
    """Model size ``[3]`` and spacing ``[3]`` that cover ``fov`` by the rules, as close to ``spacing`` as they allow."""
    low, high = np.array(rules.spacing_min), np.array(rules.spacing_max)
    inside = (spacing > low * (1 - SAME_SPACING)) & (spacing < high * (1 + SAME_SPACING))
    wanted = np.where(inside, spacing, np.clip(spacing, low, high))
    size = _round_up(np.where(inside, count, fov / wanted), rules)
    smallest = _round_up(fov / (high * (1 + SAME_SPACING)), rules)
    if smallest.max() > rules.max_size or smallest.prod() > rules.max_voxels:
        told = " x ".join(f"{mm:.0f}" for mm in fov)
        raise InputError(
            f"A field of view of {told} mm is too large for this model even at its coarsest spacing of "
            f"{' x '.join(f'{mm:g}' for mm in high)} mm; crop the volume."
        )
    while size.max() > rules.max_size or size.prod() > rules.max_voxels:
        smaller = size - rules.multiple
        coarser = np.where(smaller >= smallest, fov / np.maximum(smaller, 1), np.inf)
        axis = int(np.argmax(size)) if size.max() > rules.max_size else int(np.argmin(coarser))
        size[axis], wanted[axis] = smaller[axis], coarser[axis]
    return size, wanted


def _round_up(voxels: np.ndarray, rules: GridRules) -> np.ndarray:
    whole = np.ceil(voxels / rules.multiple - 1e-6) * rules.multiple
    return np.maximum(whole, rules.min_size).astype(int)


def _notices(
    size: np.ndarray, spacing: np.ndarray, wanted: np.ndarray, kept: np.ndarray, fov: np.ndarray, rules: GridRules
) -> tuple[str, ...]:
    notices = []
    if not kept.all():
        was, now = (" x ".join(f"{mm:.2f}" for mm in values) for values in (spacing, wanted))
        notices.append(
            f"The model works at {now} mm (right, anterior, superior) instead of {was} mm; "
            "the result is resampled back to your grid."
        )
    low, high = rules.recommended_fov_min_mm, rules.recommended_fov_max_mm
    if fov[:2].min() < low or fov[:2].max() > high:
        notices.append(
            f"The axial field of view of {fov[0]:.0f} x {fov[1]:.0f} mm is outside the recommended "
            f"{low:.0f} to {high:.0f} mm; the image may be less realistic."
        )
    if rules.trained_sizes and size.tolist() not in map(list, rules.trained_sizes):
        nearest = min(rules.trained_sizes, key=lambda trained: np.abs(np.log(np.array(trained) / size)).sum())
        notices.append(
            f"The grid of {' x '.join(map(str, size))} voxels is not among the sizes the model was trained on "
            f"(the nearest is {' x '.join(map(str, nearest))}); the image may be less realistic."
        )
    return tuple(notices)


def _check_grid(volume: Volume, shape: tuple[int, int, int], affine: np.ndarray, name: str) -> None:
    if not volume.same_grid(Volume(np.broadcast_to(np.uint8(0), shape), affine)):
        raise InputError(f"The volume of {volume.shape} voxels does not lie on {name}, which has {shape}.")


def _matrix(scale: Sequence[float], shift: Sequence[float]) -> np.ndarray:
    matrix = np.diag([*scale, 1.0])
    matrix[:3, 3] = shift
    return matrix


def _oriented(shape: Sequence[int], affine: np.ndarray, order: Sequence[int], flips: Sequence[int]) -> np.ndarray:
    """The affine after the user's axes are taken in ``order`` and the model axes ``flips`` are reversed."""
    columns = affine[:, [*order, 3]]
    turned = np.isin(range(3), flips)
    last = np.array([shape[axis] - 1 for axis in order])
    return columns @ _matrix(np.where(turned, -1.0, 1.0), np.where(turned, last, 0))
