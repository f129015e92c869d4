"""The user's grid to the model's and back: nothing lost, nothing mirrored, honest about what is changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maisi.errors import InputError
from maisi.geometry import GridRules, place_on, plan_grid
from maisi.volume import ImageVolume, LabelVolume

FREE = GridRules(spacing_min=(0.1,) * 3, spacing_max=(60.0,) * 3, min_size=8, multiple=8, max_size=64)
TWO_TO_FOUR = GridRules(
    spacing_min=(2.0,) * 3,
    spacing_max=(4.0,) * 3,
    multiple=16,
    min_size=32,
    max_size=192,
    max_voxels=96**3,
    recommended_fov_min_mm=250,
    recommended_fov_max_mm=500,
)


FEW, THICK = st.integers(2, 13), st.floats(17.0, 50.0)


@st.composite
def grids(draw, sizes=FEW, spacings=THICK):
    """Shape and affine of any grid: oblique, permuted, flipped, anisotropic, of odd sizes."""
    shape = tuple(draw(sizes) for _ in range(3))
    spacing = np.array([draw(spacings) for _ in range(3)])
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    tilt = Rotation.from_euler("xyz", [draw(st.floats(-60, 60)) for _ in range(3)], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes * spacing
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return shape, affine


def random_labels(shape, affine, seed=0):
    return LabelVolume(np.random.default_rng(seed).integers(1, 133, shape, dtype=np.uint8), affine)


def label_at(volume, point):
    """Label of the voxel whose center is nearest to a RAS point, 0 outside."""
    index = np.rint(np.linalg.solve(volume.affine, [*point, 1])[:3]).astype(int)
    return volume.array[tuple(index)] if all(0 <= i < n for i, n in zip(index, volume.shape, strict=True)) else 0


@given(grids())
def test_labels_and_images_there_and_back_are_exact_where_nothing_is_resampled(grid):
    plan = plan_grid(*grid, FREE)
    labels = random_labels(*grid)
    image = ImageVolume(labels.array.astype(np.int16) * 7 - 1000, labels.affine)
    assert not plan.resampled
    assert all(n % 8 == 0 for n in plan.model_shape)
    back = plan.labels_to_user(plan.labels_to_model(labels))
    assert np.array_equal(back.array, labels.array)
    assert back.same_grid(labels)
    image_back = plan.image_to_user(plan.image_to_model(image))
    assert np.array_equal(image_back.array, image.array)
    assert image_back.array.dtype == np.int16


@given(grids(), st.randoms())
def test_a_point_in_the_patient_keeps_its_label(grid, random):
    plan = plan_grid(*grid, FREE)
    labels = random_labels(*grid)
    on_model = plan.labels_to_model(labels)
    assert np.count_nonzero(on_model.array) == labels.array.size  # the rest is padding
    for _ in range(10):
        index = [random.randrange(n) for n in labels.shape]
        point = (labels.affine @ [*index, 1])[:3]
        assert label_at(on_model, point) == labels.array[tuple(index)]


@given(grids())
def test_model_axes_point_right_anterior_superior(grid):
    """Left and right never swap: each model axis is the user's axis that is closest to R, A, S, never against it."""
    plan = plan_grid(*grid, FREE)
    directions = plan.model_affine[:3, :3] / np.linalg.norm(plan.model_affine[:3, :3], axis=0)
    user = grid[1][:3, :3] / np.linalg.norm(grid[1][:3, :3], axis=0)
    for model_axis, user_axis in enumerate(plan.order):
        assert abs(directions[:, model_axis] @ user[:, user_axis]) == pytest.approx(1)
        assert directions[model_axis, model_axis] > -1e-9


def test_the_right_side_of_the_patient_stays_right_whatever_the_storage_order():
    ras = np.zeros((20, 20, 20), np.uint8)
    ras[15:] = 5  # right kidney at high R
    ras[:5] = 14
    for flip in (False, True):
        array, affine = (ras[::-1], np.diag([-20.0, 20, 20, 1])) if flip else (ras, np.diag([20.0, 20, 20, 1]))
        affine = affine.copy()
        affine[0, 3] = 19 * 20 if flip else 0
        labels = LabelVolume(np.ascontiguousarray(array), affine)
        on_model = plan_grid(labels.shape, affine, FREE).labels_to_model(labels)
        right = np.argwhere(on_model.array == 5)[:, 0].mean()
        left = np.argwhere(on_model.array == 14)[:, 0].mean()
        assert right > left


@given(grids(sizes=st.integers(24, 34), spacings=st.floats(1.4, 6.0)), st.randoms())
@settings(deadline=None)
def test_a_part_of_a_grid_gives_the_part_of_the_whole(grid, random):
    plan = plan_grid(*grid, TWO_TO_FOUR)
    box = tuple(slice(low, random.randint(low + 8, n)) for n in plan.model_shape for low in [random.randrange(n - 8)])
    part, user_box = plan.part(box)
    labels = random_labels(*grid)
    found = part.labels_to_model(LabelVolume(labels.array[user_box], part.user_affine))
    assert np.array_equal(found.array, plan.labels_to_model(labels).array[box])
    image = np.random.default_rng(0).normal(size=plan.model_shape)
    whole = plan.image_to_user(ImageVolume(image, plan.model_affine)).array[user_box]
    here = part.image_to_user(ImageVolume(image[box], part.model_affine)).array
    seen = np.zeros(plan.model_shape, bool)  # far enough from the faces of the box for the low pass
    seen[tuple(slice(s.start + 5, s.stop - 5) for s in box)] = True
    inside = plan.mask_to_user(seen)[user_box]
    assert np.allclose(here[inside], whole[inside], atol=1e-4)


@given(grids(sizes=st.integers(24, 34), spacings=st.floats(1.4, 6.0)), st.randoms())
@settings(deadline=None)
def test_a_box_of_the_users_grid_lies_in_its_box_of_the_model_grid(grid, random):
    plan = plan_grid(*grid, TWO_TO_FOUR)
    box = tuple(slice(low, random.randint(low + 1, n)) for n in grid[0] for low in [random.randrange(n)])
    model_box = plan.box_to_model(box)
    corner = plan.user_affine @ [*(s.start for s in box), 1]
    index = np.linalg.solve(plan.model_affine, corner)[:3]
    assert all(s.start - 1e-6 <= i <= s.stop - 1 + 1e-6 for s, i in zip(model_box, index, strict=True))


@given(grids(sizes=st.integers(20, 60), spacings=st.floats(0.9, 9.0)))
@settings(max_examples=30, deadline=None)
def test_resampled_grids_obey_the_rules_and_cover_the_field_of_view(grid):
    shape, affine = grid
    try:
        plan = plan_grid(shape, affine, TWO_TO_FOUR)
    except InputError:
        return
    spacing = np.linalg.norm(plan.model_affine[:3, :3], axis=0)
    assert (spacing > 2 * 0.998).all()
    assert (spacing < 4 * 1.002).all()
    assert np.prod(plan.model_shape) <= TWO_TO_FOUR.max_voxels
    assert all(n % 16 == 0 and 32 <= n <= 192 for n in plan.model_shape)
    full = LabelVolume(np.full(shape, 200, np.uint8), affine)
    assert (plan.labels_to_user(plan.labels_to_model(full)).array == 200).all()
    assert plan.mask_to_user(plan.labels_to_model(full).array > 0).all()
    assert plan.resampled == any("resampled" in notice for notice in plan.notices)
    corner = np.array([[-0.5, n - 0.5] for n in shape])
    inside = np.linalg.inv(plan.model_affine) @ affine
    for point in np.array(np.meshgrid(*corner, [1])).reshape(4, -1).T:
        index = (inside @ point)[:3]
        assert (index > -0.5 - 1e-6).all()
        assert (index < np.array(plan.model_shape) - 0.5 + 1e-6).all()


@given(grids(sizes=st.integers(24, 40), spacings=st.floats(1.4, 6.0)))
@settings(max_examples=30, deadline=None)
def test_resampling_keeps_a_linear_image_in_place(grid):
    """A ramp in patient coordinates, there and back, is the same ramp: no shift of half a voxel anywhere."""
    shape, affine = grid
    plan = plan_grid(shape, affine, TWO_TO_FOUR)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    ramp = np.tensordot(affine[:3, :3], index, axes=1).sum(axis=0).astype(np.float32)
    back = plan.image_to_user(plan.image_to_model(ImageVolume(ramp, affine))).array
    inner = tuple(slice(8, -8) for _ in range(3))  # the border is clamped
    assert np.abs(back - ramp)[inner].max() < 1e-2 * np.ptp(ramp)


def test_padding_is_background_and_air():
    shape, affine = (20, 20, 20), np.diag([15.0, 15, 15, 1])
    plan = plan_grid(shape, affine, FREE)
    labels = plan.labels_to_model(LabelVolume(np.ones(shape, np.uint8), affine)).array
    image = plan.image_to_model(ImageVolume(np.full(shape, 40, np.int16), affine)).array
    assert labels.shape == (24, 24, 24)
    assert set(image[labels == 0]) == {-1000}
    assert set(image[labels == 1]) == {40}
    assert (labels[2:22, 2:22, 2:22] == 1).all()


def test_finer_voxels_are_low_passed_before_they_are_thinned_out():
    shape, affine = (160, 160, 160), np.diag([0.5, 0.5, 0.5, 1])
    noise = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    on_model = plan_grid(shape, affine, TWO_TO_FOUR).image_to_model(ImageVolume(noise, affine)).array
    assert on_model[on_model > -999].std() < 15  # 100 if every fourth voxel were simply taken


def test_spacing_inside_the_rules_is_kept_and_only_padded():
    roomy = GridRules(spacing_min=(2.0,) * 3, spacing_max=(4.0,) * 3)
    plan = plan_grid((122, 101, 112), np.diag([-3.0, -3.0, 3.0, 1]), roomy)
    assert plan.model_shape == (128, 128, 128)
    assert not plan.resampled
    assert plan.notices == ()


@pytest.mark.parametrize("spacing", [1.5, 8.5])
def test_unusual_fields_of_view_are_told(spacing):
    plan = plan_grid((60, 60, 60), np.diag([spacing, spacing, 3, 1]), TWO_TO_FOUR)
    assert any("field of view" in notice and "250 to 500" in notice for notice in plan.notices)


@pytest.mark.parametrize(("slices", "told"), [(250, False), (200, True)])
def test_a_grid_unlike_those_of_the_training_is_told(slices, told):
    sizes = ((256, 256, 128), (256, 256, 256), (512, 512, 512))
    rules = GridRules(spacing_min=(0.5,) * 3, spacing_max=(3.0,) * 3, trained_sizes=sizes)
    plan = plan_grid((256, 256, slices), np.diag([1.5, 1.5, 1.5, 1]), rules)
    assert any("nearest is 256 x 256 x 256" in notice for notice in plan.notices) == told


def test_too_many_voxels_make_the_finest_axis_coarser_and_it_is_told():
    plan = plan_grid((128, 128, 64), np.diag([2.0, 2.0, 4.0, 1]), TWO_TO_FOUR)
    assert np.prod(plan.model_shape) <= 96**3
    assert plan.model_shape[2] == 64
    assert plan.resampled
    assert "2.00 x 2.00 x 4.00" in plan.notices[0]


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((100, 100, 1), (2, 2, 50), "single slice"),
        ((30, 30, 5), (1, 1, 1), "at least 32 mm"),
        ((500, 500, 300), (2, 2, 10), "spacing is given in mm"),
        ((500, 500, 400), (2, 2, 4), "crop"),
        ((0, 10, 10), (2, 2, 2), "non-empty"),
        ((10, 10, 10), (0, 2, 2), "spacing is zero"),
        ((10, 10, 10), (np.nan, 2, 2), "finite"),
    ],
)
def test_impossible_grids_are_refused_with_a_reason(shape, spacing, message):
    with pytest.raises(InputError, match=message):
        plan_grid(shape, np.diag([*spacing, 1.0]), TWO_TO_FOUR)


def test_a_flat_affine_is_refused():
    affine = np.eye(4)
    affine[:3, 1] = affine[:3, 0]
    with pytest.raises(InputError, match="spacing"):
        plan_grid((40, 40, 40), affine, FREE)


@given(grids(sizes=st.integers(5, 9)), st.permutations(range(3)), st.sets(st.integers(0, 2)))
def test_cropped_and_reordered_labels_return_to_their_grid(grid, order, flips):
    labels = random_labels(*grid)
    inner = np.zeros_like(labels.array)
    inner[1:4, 2:5, 1:3] = labels.array[1:4, 2:5, 1:3]
    crop = np.eye(4)
    crop[:3, 3] = 1, 2, 1
    turned = inner[1:4, 2:5, 1:3].transpose(order)
    affine = (grid[1] @ crop)[:, [*order, 3]]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
        affine[:3, axis] *= -1
    stored = LabelVolume(np.ascontiguousarray(np.flip(turned, tuple(flips))), affine)
    placed = place_on(stored, labels)
    assert np.array_equal(placed.array, inner)
    assert placed.same_grid(labels)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.diag([2.5, 2, 2, 1]), "different grids"),
        ([[2, 0, 0, 0.5], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], "different grids"),
        ([[2, 1, 0, 0], [-1, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], "different grids"),
        ([[2, 0, 0, 4], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], "reach beyond"),
    ],
)
def test_labels_that_do_not_fit_a_grid_are_refused(matrix, message):
    labels = LabelVolume(np.ones((10, 10, 10), np.uint8), np.array(matrix, float))
    with pytest.raises(InputError, match=message):
        place_on(labels, ImageVolume(np.zeros((10, 10, 10), np.int16), np.diag([2.0, 2, 2, 1])))


def test_a_volume_of_another_grid_is_refused():
    affine = np.diag([10.0, 10, 10, 1])
    plan = plan_grid((20, 20, 20), affine, FREE)
    moved = affine.copy()
    moved[0, 3] = 1
    for shape, where in (((20, 20, 21), affine), ((20, 20, 20), moved)):
        with pytest.raises(InputError, match="grid"):
            plan.labels_to_model(LabelVolume(np.zeros(shape, np.uint8), where))
