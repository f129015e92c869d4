"""The plan of a series: what all plans promise, on many requests."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from helpers.grids import anOblique
from maisi.errors import InputError
from maisi.labels import BODY, LABELS, LESIONS, TUMORS
from maisi.masks.lesion import add_lesion
from maisi.masks.phantom import phantom
from maisi.vary.dataset import folds, number_classes
from maisi.vary.run import share_of
from maisi.vary.series import Item, SeriesRequest, background_labels, plan_series
from maisi.volume import LabelVolume


@cache
def the_anatomy():
    return phantom(seed=1, shape=(64, 52, 72), spacing=(6.0, 6.0, 6.0))


requests = st.builds(
    SeriesRequest,
    cases=st.integers(2, 30),
    organs=st.sampled_from([(), ("liver",), ("left kidney", "lung"), ("bone",)]),
    sizes_mm=st.sampled_from([(), (18.0,), (14.0, 26.0)]),
    shapes=st.integers(1, 3),
    backgrounds=st.sampled_from([None, 1]),
    baselines=st.booleans(),
    seed=st.integers(0, 2**40),
)


@settings(max_examples=25, deadline=None)
@given(requests)
def test_every_plan_keeps_its_promises(request):
    anatomy = the_anatomy()
    items = plan_series(anatomy, request)
    assert items == plan_series(anatomy, request), "the same request, the same plan"
    assert len({item.case for item in items}) == len(items) == request.cases
    baselines = [item for item in items if item.variation is None]
    assert len(baselines) == (request.background_count if request.baselines else 0)
    seeds = {item.background: item.seed for item in items}
    assert all(item.seed == seeds[item.background] for item in items), "a pair shares its seed"
    lesions = [item.variation.lesion for item in items if item.variation]
    assert len(set(lesions)) == len(lesions), "no two lesions are the same"
    for item in items:
        if item.variation:
            after = add_lesion(anatomy, item.variation.lesion)
            changed = after.array != anatomy.array
            assert changed.sum() * 0.216 == pytest.approx(item.variation.volume_ml, abs=1e-3)
    assert [Item.from_json(json.loads(json.dumps(item.to_json()))) for item in items] == items


@settings(max_examples=25, deadline=None)
@given(requests)
def test_every_data_set_can_be_learned_from(request):
    anatomy = the_anatomy()
    items = plan_series(anatomy, request)
    classes = number_classes(anatomy, items, "all")
    assert sorted(classes.values()) == list(range(1, len(classes) + 1))
    fold = folds(items)
    backgrounds = {item.background for item in items}
    for item in items:  # what resembles each other is never in two folds
        for other in items:
            alike = item.background == other.background
            if len(backgrounds) == 1:
                alike = item.variation and other.variation and (
                    item.variation.lesion.center == other.variation.lesion.center
                )  # fmt: skip
            assert not alike or fold[item.case] == fold[other.case]
    assert set(fold.values()) == set(range(len(set(fold.values())))), "no fold is left out"


@settings(max_examples=20, deadline=None)
@given(requests, st.integers(1, 10))
def test_a_longer_series_begins_with_the_shorter_one(request, more):
    """With the number of backgrounds and places given, the lesions of the first cases stay what they are."""
    shorter = replace(request, backgrounds=1, places=40)
    longer = replace(shorter, cases=request.cases + more)
    assert plan_series(the_anatomy(), longer)[: request.cases] == plan_series(the_anatomy(), shorter)


@settings(max_examples=25, deadline=None)
@given(requests, st.integers(1, 12))
def test_every_case_falls_to_one_process(request, world):
    items = plan_series(the_anatomy(), request)
    shares = [share_of(items, rank, world) for rank in range(world)]
    assert sorted(item.case for share in shares for item in share) == [item.case for item in items]
    if request.background_count >= world:  # no background is made twice
        assert sum(len({item.background for item in share}) for share in shares) == request.background_count


def test_factors_are_crossed_and_balanced():
    request = SeriesRequest(25, organs=("liver", "left kidney"), sizes_mm=(15, 30), shapes=3, backgrounds=1)
    found = [item.variation for item in plan_series(the_anatomy(), request) if item.variation]
    assert len(found) == 24
    for level in ("size_mm", "shape", "place", "organ"):
        assert len(set(Counter(getattr(v, level) for v in found).values())) == 1, level
    same_place = {(v.organ, v.place): v.lesion.center for v in found}
    assert all(v.lesion.center == same_place[v.organ, v.place] for v in found)
    shapes = {(v.lesion.label, v.shape): replace(v.lesion, center=(0, 0, 0), radii=(1, 1, 1)) for v in found}
    assert len(set(shapes.values())) == 6
    assert all(replace(v.lesion, center=(0, 0, 0), radii=(1, 1, 1)) == shapes[v.lesion.label, v.shape] for v in found)


def test_the_size_is_the_largest_diameter_of_a_lesion_that_is_not_clipped():
    cube = LabelVolume(np.ones((80, 80, 80), np.uint8), anOblique(spacing=(1.0, 1.0, 1.0)))
    items = plan_series(cube, SeriesRequest(6, sizes_mm=(20, 35), baselines=False, backgrounds=1))
    for item in items:
        assert item.variation.clipped == 0
        assert item.variation.diameter_mm == pytest.approx(item.variation.size_mm, abs=2.5)  # between voxel centers


def test_places_are_far_from_each_other():
    items = plan_series(
        the_anatomy(), SeriesRequest(5, organs=("liver",), sizes_mm=(12,), shapes=1, places=4, backgrounds=1)
    )
    centers = [item.variation.lesion.center for item in items if item.variation]
    assert pdist(centers).min() > 40


def test_lesions_of_the_label_map_are_removed_unless_they_are_kept():
    lesion = plan_series(the_anatomy(), SeriesRequest(2, organs=("liver",)))[1].variation.lesion
    sick = add_lesion(the_anatomy(), lesion)
    assert not np.isin(background_labels(sick, SeriesRequest(2)).array, LESIONS).any()
    assert background_labels(sick, SeriesRequest(2, keep_lesions=True)) is sick


def test_without_names_every_tumor_with_an_organ_is_taken():
    items = plan_series(the_anatomy(), SeriesRequest(40))
    assert {item.variation.lesion.label for item in items if item.variation} == set(TUMORS)


def test_classes_are_all_labels_or_the_lesions_alone():
    anatomy = the_anatomy()
    items = plan_series(anatomy, SeriesRequest(4, organs=("liver",)))
    assert set(number_classes(anatomy, items, "all")) == {*np.unique(anatomy.array).tolist(), 26} - {0}
    assert number_classes(anatomy, items, "lesions") == {26: 1}


def bodies():
    return LabelVolume(np.full((32, 32, 32), BODY, np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"cases": 0}, "from 1 to 100000"),
        ({"cases": 1}, "leave none"),
        ({"cases": 4, "backgrounds": 4}, "leave none"),
        ({"cases": 4, "shapes": 0}, "at least 1"),
        ({"cases": 4, "sizes_mm": (0.1,)}, "from 2 to 150 mm"),
        ({"cases": 4, "sizes_mm": (float("nan"),)}, "from 2 to 150 mm"),
        ({"cases": 4, "sizes_mm": (9, 9)}, "only once"),
        ({"cases": 4, "classes": "some"}, "no classes 'some'"),
        ({"cases": 4, "organs": ("elbow",)}, "no organ called 'elbow'"),
        ({"cases": 4, "organs": ("prostate",)}, "has no prostate"),
        ({"cases": 4, "organs": ("spleen",)}, "No lesion that can be made grows in 'spleen'"),
        ({"cases": 4, "organs": ("liver",), "lesions": ("bone lesion",)}, "grows in 'liver'"),
        ({"cases": 4, "lesions": ("liver",)}, "no lesion called 'liver'"),
        ({"cases": 9, "organs": ("liver",), "places": 1, "shapes": 1, "sizes_mm": (20,)}, "give only 1 different"),
        ({"cases": 900, "organs": ("left kidney",), "sizes_mm": (50,), "shapes": 1}, "There are only"),
        ({"cases": 4, "sizes_mm": (5,)}, "smaller than a voxel"),
    ],
)
def test_what_cannot_be_planned_gets_a_sentence(wanted, message):
    with pytest.raises(InputError, match=message):
        plan_series(the_anatomy(), SeriesRequest(**wanted))


def test_a_label_map_without_organs_gets_a_sentence():
    with pytest.raises(InputError, match="no organ in which a lesion"):
        plan_series(bodies(), SeriesRequest(4))


def test_unknown_properties_are_refused():
    with pytest.raises(InputError, match="no property colour"):
        SeriesRequest.from_json({"cases": 3, "colour": "red"})


def test_the_names_of_organs_mean_what_people_say():
    for name, kinds in {"lungs": {23}, "Left Kidney": {129}, "vertebrae": {128}, "colon": {27}}.items():
        items = plan_series(the_anatomy(), SeriesRequest(2, organs=(name,), sizes_mm=(20,)))
        assert {item.variation.lesion.label for item in items if item.variation} == kinds, name
        assert LABELS[min(kinds)].hosts
