"""Augmented masks: tumors change, organs do not."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS, remove_lesions
from maisi.masks.augment import Augmentation, augment_tumors
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.volume import LabelVolume

STILL = {"erode_mm": 0, "dilate_mm": 0, "translate_mm": 0, "elastic_mm": 0}


@cache
def aCase() -> LabelVolume:
    """A phantom with a tumor in the liver, two in the lungs and one in a bone."""
    labels, rng = phantom(seed=2, shape=(64, 52, 72), spacing=(5.0, 5.0, 5.0)), np.random.default_rng(3)
    for label in (26, 23, 23, 128):
        labels = add_lesion(labels, random_lesion(labels, label, rng, radius_mm=14))
    return labels


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), elastic=st.sampled_from([0.0, 3.0]))
def test_only_tumors_change_and_only_in_their_organs(seed, elastic):
    before = aCase()
    after = augment_tumors(before, np.random.default_rng(seed), Augmentation(elastic_mm=elastic))
    healed = remove_lesions(before.array)
    assert set(np.unique(after.array)) >= {23, 26, 128}, "no tumor is lost"
    for label in LESIONS:
        mask = after.array == label
        assert np.isin(healed[mask & (before.array != label)], LABELS[label].hosts).all()
    rest = ~np.isin(after.array, LESIONS)
    assert (after.array[rest] == healed[rest]).all()
    assert (after.array != before.array).any()


def test_the_same_seed_gives_the_same_mask():
    first, second = (augment_tumors(aCase(), np.random.default_rng(5)) for _ in range(2))
    assert (first.array == second.array).all()


def test_without_change_every_voxel_stays():
    assert (augment_tumors(aCase(), np.random.default_rng(0), Augmentation(**STILL)).array == aCase().array).all()


def sizes(seed: int, **change) -> np.ndarray:
    """Volumes of the liver tumor before and after."""
    after = augment_tumors(aCase(), np.random.default_rng(seed), Augmentation(**{**STILL, **change}))
    return np.array([(labels.array == 26).sum() for labels in (aCase(), after)])


def test_erosion_shrinks_dilation_grows_and_translation_keeps_the_size():
    eroded, dilated = (
        np.array([sizes(seed, **change) for seed in range(6)]) for change in ({"erode_mm": 5}, {"dilate_mm": 6})
    )
    assert (eroded[:, 1] <= eroded[:, 0]).all()
    assert (eroded[:, 1] < eroded[:, 0]).any()
    assert (dilated[:, 1] >= dilated[:, 0]).all()
    assert (dilated[:, 1] > dilated[:, 0]).any()
    moved = sizes(1, translate_mm=8, keep=1.0)
    assert moved[1] == pytest.approx(moved[0], rel=0.25)  # resampled at 5 mm


def test_a_tumor_that_fits_nowhere_stays():
    array = np.zeros((20, 20, 20), np.uint8)
    array[9:12, 9:12, 9:12] = 26  # no liver around it
    labels = LabelVolume(array, np.diag([2.0, 2.0, 2.0, 1.0]))
    after = augment_tumors(labels, np.random.default_rng(0), Augmentation(keep=1.0, erode_mm=0))
    assert (after.array == 26).any()


@pytest.mark.parametrize(
    "wrong", [{"erode_mm": -1}, {"keep": 2.0}, {"elastic_length_mm": 0}, {"dilate_mm": float("nan")}]
)
def test_wrong_amounts_get_a_sentence(wrong):
    with pytest.raises(InputError):
        Augmentation(**wrong)
