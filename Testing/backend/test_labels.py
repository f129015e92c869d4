"""The vocabulary: names and codes found or refused, numberings mapped, overlaps and lesions resolved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maisi.errors import InputError
from maisi.labels import (
    BODY,
    BONES,
    LABELS,
    LESIONS,
    LUNGS,
    find_label,
    find_terminology,
    map_ids,
    merge,
    remove_lesions,
    sides_swap,
)

KNOWN = [label for label in LABELS.values() if not label.unused]
ids = st.sampled_from([label.id for label in KNOWN])


def test_table_is_complete_and_colors_are_distinct():
    assert set(LABELS) == {*range(133), BODY}
    assert len({label.name for label in KNOWN}) == len(KNOWN)
    assert len({label.color for label in KNOWN}) == len(KNOWN)
    assert sum(bool(label.totalsegmentator) for label in KNOWN) == 117


def test_every_lesion_differs_clearly_in_color_from_its_hosts():
    for lesion in LESIONS:
        for host in LABELS[lesion].hosts:
            assert np.linalg.norm(np.subtract(LABELS[lesion].color, LABELS[host].color)) > 60, (lesion, host)


def test_lesions_live_in_real_organs():
    assert {LABELS[i].hosts for i in (23, 24, 26, 27, 129)} == {LUNGS, (4,), (1,), (62,), (5, 14)}
    assert LABELS[128].hosts == BONES
    assert LABELS[116].hosts == (14,)  # left cyst, left kidney
    assert LABELS[117].hosts == (5,)


def test_sides_swap_is_its_own_inverse_and_changes_only_the_side():
    assert sides_swap[5] == 14
    assert sides_swap[28] == 30
    for one, other in sides_swap.items():
        assert sides_swap[other] == one
        assert {LABELS[one].side, LABELS[other].side} == {"left", "right"}


USED_NAMES = {
    0: "background",
    1: "Liver, LIVER_1, liver segment 4",
    4: "pancreas body, Pancreas_tail",
    7: "IVC, inferior vena cava",
    10: "Gall bladder",
    14: "left kidney, Kidney_left, KidneyLeft, lt. kidney",
    15: "urinary_bladder",
    17: "portal vein",
    19: "small intestine",
    23: "lung nodule left upper lobe, lesion in left lung, pulmonary mass RUL, Lung cancer",
    24: "pancreatic head mass, PDAC",
    25: "hepatic vessels",
    26: "Liver tumour, hepatic metastasis, Metastases liver, LiverTumor2, HCC, lesion of the liver, LIVER lesion",
    27: "colorectal cancer, sigmoid carcinoma",
    29: "left lung",  # a whole lung is taken for the lower lobe of its side
    31: "right lung middle lobe, RML",
    32: "right lung",
    35: "L3 vertebra",
    38: "vertebrae_T12",
    56: "C1 vertebral body",
    62: "large bowel",
    67: "5th left rib, rib_left_5",
    91: "left clavicle",
    106: "psoas L",
    116: "left renal cyst",
    125: "superior vena cava",
    127: "S1 vertebra",
    128: "bone metastases, femur lesion, L3 vertebral body metastasis, spine mets",
    129: "kidney tumor, right renal mass",
    132: "airways, bronchi",
    BODY: "skin, body, Body, whole body, External, body_trunc",
}
UNCERTAIN_NAMES = """
    , Segment_1, tumor, nodule, lesion 2, GTV, kidney, kidneys, lungs, adrenal gland, femur, L3, T1, L6 vertebra,
    vertebrae, ribs, left rib 13, left, not liver, liver without tumor, liver cyst, brain metastasis, spleen lesion,
    left lobe lesion, dummy1, dummy 6, left right kidney, skeletal muscle, fat, x
"""


@pytest.mark.parametrize(("id_", "name"), [(i, n) for i, names in USED_NAMES.items() for n in names.split(", ")])
def test_names_that_people_use_are_understood(id_, name):
    assert find_label(name) == id_


@pytest.mark.parametrize("name", [name.strip() for name in UNCERTAIN_NAMES.split(",")])
def test_what_is_not_certain_is_refused(name):
    assert find_label(name) is None


@given(st.sampled_from(KNOWN), st.randoms(), st.sampled_from(["_", " ", "-", "."]), st.booleans())
def test_official_names_are_known_in_any_order_case_and_separator(label, random, separator, upper):
    for name in filter(None, (label.name, label.totalsegmentator)):
        words = name.replace("_", " ").split()
        random.shuffle(words)
        mangled = separator.join(words)
        assert find_label(mangled.upper() if upper else mangled) == label.id


@given(st.text(max_size=30))
def test_any_text_gives_an_id_or_none(text):
    assert find_label(text) in {None, *LABELS}


def codes_of(id_):
    return [code.value for code in LABELS[id_].terminology]


@pytest.mark.parametrize("label", [label for label in KNOWN if label.id], ids=lambda label: label.name)
def test_every_label_is_found_by_its_own_codes(label):
    assert find_terminology(*codes_of(label.id)) == label.id


def test_codes_of_other_tools_are_understood():
    altered, mass = "49755003", "4147007"
    assert find_terminology(altered, mass, "", "10200004", "") == 26
    assert find_terminology(altered, "108369006", "", "39607008", "7771000") == 23
    assert find_terminology(altered, mass, "", "36470004", "") == 128  # L3
    assert find_terminology("85756007", "39937001", "", "", "") == BODY  # skin
    assert find_terminology("123037004", "39607008", "24028007", "", "") == 32  # right lung
    assert find_terminology("123037004", "64033007", "", "", "7771000") == 14  # side on the region


def test_codes_that_do_not_tell_are_refused():
    assert find_terminology("85756007", "85756007", "", "", "") is None  # Slicer's default: tissue
    assert find_terminology("123037004", "64033007", "", "", "") is None  # kidney without side
    assert find_terminology("49755003", "4147007", "", "", "") is None  # mass, anywhere
    assert find_terminology("49755003", "4147007", "", "12738006", "") is None  # brain mass
    assert find_terminology("123037004", "4147007", "", "10200004", "") is None  # a mass is no structure
    assert find_terminology("", "", "", "", "") is None


def test_totalsegmentator_and_vista_numbers_become_maisi_ids():
    assert map_ids(np.array([[0, 5, 117]]), "totalsegmentator").tolist() == [[0, 1, 114]]
    assert map_ids(np.array([0, 14, 132], np.int16), "vista3d").tolist() == [0, 14, 132]
    assert map_ids(np.array([0, 23, BODY], np.int64)).dtype == np.uint8


@pytest.mark.parametrize(
    ("ids_", "source", "named"),
    [
        ([0, 1, 140, 145], "maisi", "140, 145"),
        ([0, 18], "maisi", "18"),
        ([0, 118], "totalsegmentator", "118"),
        ([1, BODY], "vista3d", "200"),
        ([0, -3], "maisi", "-3"),
        ([0, 10**9], "maisi", "1000000000"),
        ([0, 1], "freesurfer", "freesurfer"),
    ],
)
def test_unknown_ids_and_sources_are_named(ids_, source, named):
    with pytest.raises(InputError, match=named):
        map_ids(np.array(ids_), source)


def test_many_unknown_ids_make_a_short_sentence():
    with pytest.raises(InputError) as error:
        map_ids(np.arange(133, 190))
    assert len(str(error.value)) < 200


SHAPE = (3, 4, 2)
layers = st.lists(st.tuples(arrays(bool, SHAPE), ids), max_size=5)


@given(layers)
def test_merge_gives_each_voxel_its_most_specific_label(layers):
    merged = merge(layers, SHAPE)
    for index in np.ndindex(SHAPE):
        here = [id_ for mask, id_ in layers if mask[index]]
        tumors = [i for i in here if i in LESIONS and i not in (116, 117)]
        organs = [i for i in here if i not in (0, BODY)]
        expected = tumors or organs or [i for i in here if i == BODY] or [0]
        assert merged[index] in expected


def test_merge_ranks_tumor_vessel_organ_body_whatever_the_order():
    everywhere = np.ones((1, 1, 1), bool)
    for order in ([26, 25, 1, BODY], [BODY, 1, 25, 26]):
        for drop in range(4):
            left = (26, 25, 1, BODY)[drop:]
            merged = merge([(everywhere, i) for i in order if i in left], (1, 1, 1))
            assert merged.item() == left[0]
    assert merge([(everywhere, 1), (everywhere, 3)], (1, 1, 1)).item() == 3  # equals: the later


@given(arrays(np.uint8, (6, 5, 4), elements=st.sampled_from([0, 1, 4, 26, 24, 23, 29, 32, 128, 35, 5, 129, BODY])))
def test_healing_removes_lesions_and_touches_nothing_else(array):
    before = array.copy()
    healed = remove_lesions(array)
    assert np.array_equal(array, before)
    assert not np.isin(healed, LESIONS).any()
    unchanged = ~np.isin(array, LESIONS)
    assert np.array_equal(healed[unchanged], array[unchanged])
    for lesion in (26, 24, 23, 128, 129):
        expected = {*LABELS[lesion].hosts} & {*np.unique(array)}
        if expected:
            assert {*np.unique(healed[array == lesion])} <= expected


def test_a_lung_tumor_heals_to_the_lobe_it_lies_in():
    lungs = np.full((40, 10, 10), 29, np.uint8)
    lungs[20:] = 32
    lungs[3:6, 4:6, 4:6] = lungs[30:33, 4:6, 4:6] = 23
    healed = remove_lesions(lungs)
    assert (healed[:20] == 29).all()
    assert (healed[20:] == 32).all()


def test_the_nearest_host_is_found_however_far_it_is():
    array = np.zeros((80, 3, 3), np.uint8)
    array[0] = 28
    array[70] = 23
    assert (remove_lesions(array)[70] == 28).all()


def test_a_lesion_without_any_host_heals_to_its_only_host_or_body():
    assert remove_lesions(np.full((2, 2, 2), 26, np.uint8)).max() == 1
    assert set(np.unique(remove_lesions(np.full((2, 2, 2), 128, np.uint8)))) == {BODY}
