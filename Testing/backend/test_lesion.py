"""Parametric lesions: the same shape everywhere, operations that can be undone, JSON, fitting, measuring."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS
from maisi.masks.lesion import Lesion
from maisi.masks.lesion_fit import fit_lesion
from maisi.masks.measure import largest_diameter_mm, volume_ml
from maisi.volume import LabelVolume

lesions = st.builds(
    Lesion,
    label=st.sampled_from(LESIONS),
    center=st.tuples(*[st.floats(-12, 12)] * 3),
    radii=st.tuples(*[st.floats(4, 16)] * 3),
    rotation=st.integers(0, 999).map(lambda seed: Rotation.random(random_state=seed).as_matrix()),
    lobulation=st.floats(0, 0.3),
    seed=st.integers(0, 10_000),
    spiculation=st.sampled_from([0.0, 0.5]),
    necrosis=st.sampled_from([0.0, 0.4]),
)


def aGrid(spacing=1.5, turn=0, size=72) -> LabelVolume:
    """A cube of voxels around the origin, turned at random if ``turn``."""
    affine = np.eye(4)
    rotation = Rotation.random(random_state=turn).as_matrix() if turn else np.eye(3)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (size - 1) / 2)
    return LabelVolume(np.zeros((size,) * 3, np.uint8), affine)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@settings(max_examples=25, deadline=None)
@given(lesion=lesions)
def test_a_lesion_is_one_piece_without_holes(lesion):
    mask = lesion.rasterize(aGrid())
    if lesion.spiculation == 0:  # a spicule may be thinner than a voxel
        assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1
    assert (ndimage.binary_fill_holes(mask) == mask).all()


@settings(max_examples=25, deadline=None)
@given(lesion=lesions, turn=st.integers(1, 50))
def test_volume_is_the_same_on_every_grid(lesion, turn):
    expected = lesion.volume_ml
    for grid in (aGrid(), aGrid(1.7, turn)):
        assert volume_ml(lesion.rasterize(grid), grid.affine) == pytest.approx(expected, rel=0.06, abs=0.05)


@settings(max_examples=15, deadline=None)
@given(lesion=lesions, steps=st.tuples(*[st.integers(-4, 4)] * 3))
def test_a_moved_lesion_keeps_its_shape_to_the_voxel(lesion, steps):
    grid = aGrid(2.0)
    moved = lesion.moved(tuple(2.0 * s for s in steps)).rasterize(grid)
    # Rounding may turn a voxel whose center lies on the surface.
    assert (moved != np.roll(lesion.rasterize(grid), steps, axis=(0, 1, 2))).sum() <= 3


@settings(max_examples=15, deadline=None)
@given(lesion=lesions, low=st.tuples(*[st.integers(0, 50)] * 3))
def test_a_region_of_the_grid_gets_the_same_voxels(lesion, low):
    grid = aGrid()
    whole = lesion.rasterize(grid)
    cut = tuple(slice(a, a + 20) for a in low)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    part = lesion.rasterize(LabelVolume(grid.array[cut], affine))
    assert (part != whole[cut]).sum() <= 1


@settings(max_examples=20, deadline=None)
@given(lesion=lesions, mm=st.floats(-3, 6))
def test_growing_contains_and_goes_back(lesion, mm):
    grown = lesion.grown(mm)
    small, large = (one.rasterize(aGrid()) for one in sorted((lesion, grown), key=lambda one: one.radii))
    # The radii's ratio changes, and with it the direction of spicules a little.
    assert (small & ~large).sum() <= 0.02 * small.sum() + 3
    assert grown.grown(-mm).radii == pytest.approx(lesion.radii)


@settings(max_examples=15, deadline=None)
@given(lesion=lesions, degrees=st.floats(-180, 180))
def test_turning_keeps_volume_and_goes_back(lesion, degrees):
    turned = lesion.rotated((1, -2, 0.5), degrees)
    assert turned.volume_ml == pytest.approx(lesion.volume_ml)
    assert np.allclose(turned.rotated((1, -2, 0.5), -degrees).rotation, lesion.rotation)


@settings(max_examples=15, deadline=None)
@given(lesion=lesions)
def test_another_seed_is_another_shape_of_nearly_the_same_size(lesion):
    other = lesion.reshaped(lesion.seed + 1)
    if lesion.spiculation == 0:
        assert other.volume_ml == pytest.approx(lesion.volume_ml, rel=0.02)
    if lesion.lobulation > 0.05:
        assert (other.rasterize(aGrid()) != lesion.rasterize(aGrid())).any()


def test_stretching_goes_along_the_axes_of_the_lesion():
    lesion = Lesion(26, (0, 0, 0), (8, 8, 8), lobulation=0).rotated((0, 0, 1), 45).stretched((2, 1, 1))
    points = np.argwhere(lesion.rasterize(aGrid())) @ np.eye(3)
    _, axes = np.linalg.eigh(np.cov(points.T))
    assert abs(axes[:, -1] @ (2**-0.5, 2**-0.5, 0)) > 0.999


@settings(max_examples=10, deadline=None)
@given(lesion=lesions)
def test_the_core_lies_inside(lesion):
    grid = aGrid()
    if lesion.necrosis and lesion.lobulation < 0.15:
        assert not (lesion.core.rasterize(grid) & ~lesion.rasterize(grid)).any()
        assert lesion.core.radii == pytest.approx([0.4 * r for r in lesion.radii])
    if not lesion.necrosis:
        assert lesion.core is None


def test_spicules_make_a_lesion_reach_farther_but_hardly_larger():
    smooth, spiked = (Lesion(23, (0, 0, 0), (10, 10, 10), spiculation=s, lobulation=0.05, seed=3) for s in (0, 1))
    masks = [lesion.rasterize(aGrid(1.0)) for lesion in (smooth, spiked)]
    diameters = [largest_diameter_mm(mask, np.eye(4)) for mask in masks]
    assert diameters[1] > 1.4 * diameters[0]
    assert masks[1].sum() < 1.4 * masks[0].sum()


@settings(max_examples=15, deadline=None)
@given(lesion=lesions)
def test_the_surface_is_where_the_voxels_end(lesion):
    points, faces = lesion.surface()
    a, b, c = points[faces].transpose(1, 0, 2)
    enclosed = np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6000  # ml; positive when triangles face outward
    # Between 600 points spicules are cut off.
    assert enclosed == pytest.approx(lesion.volume_ml, rel=0.05 if lesion.spiculation == 0 else 0.2)


@settings(max_examples=20, deadline=None)
@given(lesion=lesions)
def test_json_gives_the_same_lesion(lesion):
    assert Lesion.from_json(json.loads(json.dumps(lesion.to_json()))) == lesion


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "not the parameters"),
        ({"label": 26}, "not the parameters"),
        ({"label": 26, "center": [0, 0, 0], "radii": [1, 1, 1], "color": 3}, "not the parameters"),
        ({"label": 1, "center": [0, 0, 0], "radii": [1, 1, 1]}, "Label 1 is not a lesion"),
        ({"label": 26, "center": [0, 0], "radii": [1, 1, 1]}, "center"),
        ({"label": 26, "center": [0, 0, float("nan")], "radii": [1, 1, 1]}, "center"),
        ({"label": 26, "center": [0, 0, 0], "radii": [1, 0, 1]}, "greater than 0"),
        ({"label": 26, "center": [0, 0, 0], "radii": [1, "a", 1]}, "numbers"),
        ({"label": 26, "center": [0, 0, 0], "radii": [1, 1, 1], "rotation": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "unit"),
        ({"label": 26, "center": [0, 0, 0], "radii": [1, 1, 1], "lobulation": 3}, "lobulation"),
        ({"label": 26, "center": [0, 0, 0], "radii": [1, 1, 1], "seed": -1}, "seed"),
    ],
)
def test_what_is_no_lesion_gets_a_sentence(values, sentence):
    with pytest.raises(InputError, match=sentence):
        Lesion.from_json(values)


def test_shrinking_to_nothing_gets_a_sentence():
    with pytest.raises(InputError, match="leaves nothing"):
        Lesion(26, (0, 0, 0), (5, 6, 7)).grown(-5)


def test_an_axis_without_a_length_gets_a_sentence():
    with pytest.raises(InputError, match="axis"):
        Lesion(26, (0, 0, 0), (5, 6, 7)).rotated((0, 0, 0), 10)


@settings(max_examples=20, deadline=None)
@given(lesion=lesions, turn=st.integers(0, 20))
def test_a_fitted_lesion_is_what_was_painted(lesion, turn):
    grid = aGrid(turn=turn)
    painted = lesion.rasterize(grid)
    fitted = fit_lesion(painted, grid.affine, lesion.label)
    again = fitted.rasterize(grid)
    assert dice(painted, again) > (0.9 if lesion.spiculation == 0 else 0.8)
    assert again.sum() == pytest.approx(painted.sum(), rel=0.05)
    assert fitted.label == lesion.label


@pytest.mark.parametrize(
    "voxels", [[(5, 5, 5)], [(5, 5, 5), (5, 6, 5)], [(5, j, k) for j in range(9) for k in range(7)]]
)
def test_flat_and_tiny_paintings_can_be_fitted(voxels):
    mask = np.zeros((12, 12, 12), bool)
    mask[tuple(np.transpose(voxels))] = True
    affine = np.diag([1.0, 2.0, 0.7, 1.0])
    fitted = fit_lesion(mask, affine, 26)
    assert fitted.volume_ml == pytest.approx(volume_ml(mask, affine), rel=0.1)
    assert dice(fitted.rasterize(LabelVolume(mask.astype(np.uint8), affine)), mask) > 0.6


def test_a_painting_with_a_hollow_keeps_its_volume():
    mask = np.zeros((40, 40, 40), bool)
    mask[8:32, 8:32, 10:30] = True
    mask[16:32, 14:26, :] = False  # a horseshoe, its center of mass near the hollow
    fitted = fit_lesion(mask, np.eye(4), 26)
    assert fitted.volume_ml == pytest.approx(mask.sum() / 1000, rel=0.05)


def test_nothing_painted_gets_a_sentence():
    with pytest.raises(InputError, match="no voxels"):
        fit_lesion(np.zeros((3, 3, 3), bool), np.eye(4), 26)


def test_diameter_of_known_shapes():
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    mask = np.zeros((9, 9, 9), bool)
    assert largest_diameter_mm(mask, affine) == 0
    mask[4, 4, 4] = True
    assert largest_diameter_mm(mask, affine) == 0
    mask[4, 4, 8] = True
    assert largest_diameter_mm(mask, affine) == pytest.approx(12)
    mask[:] = True
    assert largest_diameter_mm(mask, affine) == pytest.approx(8 * 14**0.5)


def test_every_lesion_label_has_a_kind():
    assert all(LABELS[label].hosts for label in LESIONS)
