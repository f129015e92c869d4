"""Procedural anatomy, lesions and deformation: what they promise, on many seeds."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maisi.errors import InputError
from maisi.labels import BODY, LABELS
from maisi.masks.deform import deform
from maisi.masks.lesion import RADIUS_MM, Lesion, add_lesion, random_lesion
from maisi.masks.noise import smooth_noise
from maisi.masks.phantom import phantom
from maisi.volume import LabelVolume

SMALL = {"shape": (64, 52, 72), "spacing": (6.0, 6.0, 6.0)}


@cache
def the_phantom():
    return phantom(seed=1, **SMALL)


@pytest.fixture
def a_phantom():
    return the_phantom()


def test_a_phantom_is_the_same_for_the_same_seed(a_phantom):
    assert (phantom(seed=1, **SMALL).array == a_phantom.array).all()
    assert (phantom(seed=2, **SMALL).array != a_phantom.array).any()


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_organs_lie_on_their_side(seed):
    labels = phantom(seed=seed, **SMALL)

    def right(label):  # RAS: the first index grows toward the patient's right
        return np.argwhere(labels.array == label)[:, 0].mean()

    assert right(1) > right(3)  # liver, spleen
    assert right(5) > right(14)  # right, left kidney
    assert right(32) > right(29)  # lower lobes
    assert right(96) > right(95)  # hips


def test_heads_are_up(a_phantom):
    def height(label):
        return np.argwhere(a_phantom.array == label)[:, 2].mean()

    assert height(45) > height(38) > height(33)  # T5, T12, L5
    assert height(30) > height(1) > height(95)  # lung, liver, hip


def test_a_phantom_holds_the_organs_of_chest_and_abdomen(a_phantom):
    expected = {1, 3, 4, 5, 6, 7, 12, 14, 19, 28, 29, 30, 32, 62, 95, 104, 115, 121, BODY}
    assert set(np.unique(a_phantom.array)) >= expected
    assert not np.isin(a_phantom.array, list(RADIUS_MM)).any()


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(sorted(RADIUS_MM)), seed=st.integers(0, 10_000))
def test_a_lesion_grows_in_its_host_only(kind, seed):
    before = the_phantom()
    lesion = random_lesion(before, kind, np.random.default_rng(seed), radius_mm=14)
    after = add_lesion(before, lesion)
    changed = before.array != after.array
    assert changed.any()
    assert (after.array[changed] == kind).all()
    assert np.isin(before.array[changed], LABELS[kind].hosts).all()


def test_the_volume_of_a_lesion_is_that_of_its_ellipsoid():
    grid = LabelVolume(np.zeros((60, 60, 60), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]))
    lesion = Lesion(26, (30.0, 28.0, 60.0), (12.0, 9.0, 15.0), np.eye(3), lobulation=0.0)
    volume = lesion.rasterize(grid).sum() * 2.0
    assert volume == pytest.approx(4 / 3 * np.pi * 12 * 9 * 15, rel=0.03)


def test_a_lesion_is_the_same_on_an_oblique_grid():
    lesion = Lesion(26, (5.0, -3.0, 8.0), (10.0, 14.0, 9.0), np.eye(3), lobulation=0.0)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn
    affine[:3, 3] = lesion.center - turn @ np.array([25, 25, 25])
    mask = lesion.rasterize(LabelVolume(np.zeros((51, 51, 51), np.uint8), affine))
    center = affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]
    assert center == pytest.approx(lesion.center, abs=0.1)
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 10 * 14 * 9, rel=0.03)


def test_a_lesion_outside_the_image_is_empty_and_refused(a_phantom):
    lesion = Lesion(26, (9999.0, 0.0, 0.0), (10.0, 10.0, 10.0), np.eye(3))
    assert not lesion.rasterize(a_phantom).any()
    with pytest.raises(InputError, match="outside the organs"):
        add_lesion(a_phantom, lesion)


def test_no_host_gets_a_sentence(a_phantom):
    bodies = LabelVolume(np.where(a_phantom.array > 0, BODY, 0).astype(np.uint8), a_phantom.affine)
    with pytest.raises(InputError, match="no organ"):
        random_lesion(bodies, 26, np.random.default_rng(0))


def test_deformation_of_strength_zero_is_resampling(a_phantom):
    same = deform(a_phantom, np.random.default_rng(0), a_phantom.shape, a_phantom.spacing, strength=0.0)
    assert (same.array == a_phantom.array).mean() > 0.999
    assert same.same_grid(a_phantom)


def test_deformation_keeps_sides_and_most_organs(a_phantom):
    bent = deform(a_phantom, np.random.default_rng(3), a_phantom.shape, a_phantom.spacing)
    assert (bent.array != a_phantom.array).mean() > 0.02
    assert np.argwhere(bent.array == 5)[:, 0].mean() > np.argwhere(bent.array == 14)[:, 0].mean()
    assert len(set(np.unique(a_phantom.array)) - set(np.unique(bent.array))) <= 8


@pytest.mark.parametrize("length", [3.0, 20.0, 80.0])
def test_smooth_noise_has_unit_variance_and_its_correlation_length(length):
    rng = np.random.default_rng(0)
    fields = [smooth_noise((48, 40, 44), np.full(3, 2.0), length, rng) for _ in range(12)]
    assert np.std(fields) == pytest.approx(1, abs=0.35)
    step = ndimage.shift(fields[0], (1, 0, 0), order=0)[2:] - fields[0][2:]
    assert np.std(step) < 2.2 * 2.0 / length + 0.25
