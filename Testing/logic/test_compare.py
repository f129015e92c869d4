"""Two CTs compared, on a real scene."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.slicer_core import addVolume, contents, slicer
from maisi.errors import InputError
from maisi.labels import find_label
from maisi.volume import ImageVolume, LabelVolume
from MAISISynthLib.Compare import compare, differenceVolume
from MAISISynthLib.DifferenceColors import differenceColors
from MAISISynthLib.NodeGrid import Grid
from MAISISynthLib.SceneIO import addSynthetic, readValues

LIVER, TUMOR, SPLEEN = find_label("liver"), find_label("hepatic tumor"), find_label("spleen")
HU = {0: -1000, LIVER: 100, TUMOR: 60, SPLEEN: 120}


def synthetic(scene, labels: LabelVolume, name: str, noise: int = 0):
    """A CT whose HU follow the labels, alternating by ``noise`` around them."""
    table = np.zeros(256, np.int16)
    for label, hu in HU.items():
        table[label] = hu
    array = table[labels.array] + np.where(np.indices(labels.shape).sum(0) % 2, noise, -noise).astype(np.int16)
    grid = Grid(labels.shape, labels.affine, labels.affine)
    return addSynthetic(scene, ImageVolume(array, labels.affine), labels, grid, name, {})


@pytest.fixture
def a_grown_tumor(a_liver_with_tumor):
    array = a_liver_with_tumor.array.copy()
    array[4:11, 5:11, 3:9][array[4:11, 5:11, 3:9] == LIVER] = TUMOR
    return LabelVolume(array, a_liver_with_tumor.affine)


@pytest.fixture
def a_pair(a_scene, a_liver_with_tumor, a_grown_tumor):
    return synthetic(a_scene, a_liver_with_tumor, "Before", 5), synthetic(a_scene, a_grown_tumor, "After", 5)


def test_rows_tell_volume_and_hu_before_and_after(a_pair, a_liver_with_tumor, a_grown_tumor):
    comparison, _difference = compare(*a_pair)
    assert list(comparison.samples) == [TUMOR, LIVER], "the lesion first, then its host; the spleen did not change"
    milliliters = abs(np.linalg.det(a_liver_with_tumor.affine[:3, :3])) / 1000
    for sample, labels in zip(comparison.samples[TUMOR], (a_liver_with_tumor, a_grown_tumor), strict=True):
        assert sample.milliliters == pytest.approx((labels.array == TUMOR).sum() * milliliters)
        assert sample.mean == pytest.approx(60, abs=0.5)
        assert sample.deviation == pytest.approx(5, abs=0.1)
    assert comparison.samples[LIVER][0].milliliters > comparison.samples[LIVER][1].milliliters


def test_difference_is_signed_and_tells_where_it_is(a_pair, a_liver_with_tumor, a_grown_tumor):
    comparison, difference = compare(*a_pair)
    changed = a_liver_with_tumor.array != a_grown_tumor.array
    assert np.array_equal(difference.array, np.where(changed, -40, 0)), "denser before"
    assert comparison.changedFraction == pytest.approx(changed.mean())
    assert comparison.largest == 40
    ends = np.argwhere(changed)
    middle = a_grown_tumor.affine @ [*(ends.min(0) + ends.max(0)) / 2, 1]
    assert comparison.center == pytest.approx(middle[:3])


def test_comparing_changes_nothing(a_scene, a_pair):
    before = contents(a_scene)
    compare(*a_pair)
    assert contents(a_scene) == before


def test_equal_cts_do_not_differ(a_pair):
    comparison, _difference = compare(a_pair[0], a_pair[0])
    assert (comparison.changedFraction, comparison.largest, comparison.center) == (0, 0, None)


def test_a_lesion_that_was_removed_has_no_row_after(a_scene, a_pair, a_liver_with_tumor):
    healthy = np.where(a_liver_with_tumor.array == TUMOR, LIVER, a_liver_with_tumor.array).astype(np.uint8)
    after = synthetic(a_scene, LabelVolume(healthy, a_liver_with_tumor.affine), "Healed")
    samples = compare(a_pair[0], after)[0].samples
    assert list(samples) == [TUMOR, LIVER]
    assert samples[TUMOR][1] is None


def test_a_patients_ct_is_read_with_the_labels_of_the_synthetic_one(a_scene, a_pair, a_grown_tumor):
    patient = addVolume(np.full(a_grown_tumor.shape, 30.5, np.float32), a_grown_tumor.affine, "Patient")
    samples = compare(patient, a_pair[1])[0].samples
    assert samples[TUMOR][0].mean == pytest.approx(30.5)
    assert samples[TUMOR][0].milliliters == samples[TUMOR][1].milliliters


def test_two_plain_volumes_have_a_difference_but_no_rows(a_scene, a_grown_tumor):
    volumes = [addVolume(np.full(a_grown_tumor.shape, hu, np.int16), a_grown_tumor.affine) for hu in (-32000, 32000)]
    comparison, _difference = compare(*volumes)
    assert (comparison.samples, comparison.largest) == ({}, 64000)


def test_another_order_of_axes_is_the_same_grid(a_scene, a_pair, a_liver_with_tumor):
    """Saving a scene may turn an axis around."""
    values = readValues(a_pair[0]).array[::-1]
    turned = a_liver_with_tumor.affine @ np.diag([-1, 1, 1, 1])
    turned[:3, 3] = a_liver_with_tumor.affine[:3] @ [values.shape[0] - 1, 0, 0, 1]
    comparison, _difference = compare(addVolume(values, turned, "Turned"), a_pair[0])
    assert comparison.largest == 0


def test_other_grids_and_empty_volumes_are_refused(a_scene, a_pair, a_liver_with_tumor):
    moved = a_liver_with_tumor.affine.copy()
    moved[0, 3] += 5
    other = addVolume(np.zeros(a_liver_with_tumor.shape, np.int16), moved, "Moved")
    with pytest.raises(InputError, match="'Moved' and 'After' are on different grids: choose two CTs of the same"):
        compare(other, a_pair[1])
    empty = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(InputError, match="'Empty' holds no image"):
        compare(empty, a_pair[1])


# ---- in the scene


def test_difference_volume_is_colored_around_zero(a_scene, a_pair):
    _comparison, difference = compare(*a_pair)
    node = differenceVolume(*a_pair, difference)
    assert node.GetName() == "After minus Before"
    assert np.array_equal(readValues(node).array, difference.array)
    display = node.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (100, 0), "at least 50 HU on either side"
    assert display.GetColorNode() is differenceColors(a_scene)
    assert node.GetAttribute("MAISI.Synthetic") is None, "it is no CT"


def test_difference_volume_of_a_pair_is_used_again(a_scene, a_pair):
    first = differenceVolume(*a_pair, compare(*a_pair)[1])
    slicer.util.arrayFromVolume(a_pair[1])[:] += 400
    again = differenceVolume(*a_pair, compare(*a_pair)[1])
    other = differenceVolume(*a_pair[::-1], compare(*a_pair[::-1])[1])
    assert again is first
    assert other is not first
    assert readValues(first).array.max() == 400
    assert first.GetDisplayNode().GetWindow() == 800


def test_difference_survives_saving(a_scene, a_pair, tmp_path):
    differenceVolume(*a_pair, compare(*a_pair)[1])
    a_scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    a_scene.Clear(0)
    a_scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    pair = slicer.util.getNode("Before"), slicer.util.getNode("After")
    node = differenceVolume(*pair, compare(*pair)[1])
    assert node is slicer.util.getNode("After minus Before")
    assert node.GetDisplayNode().GetColorNode() is differenceColors(a_scene)


def test_colors_go_from_blue_over_nothing_to_red(a_scene):
    table = differenceColors(a_scene)
    colors = []
    for index in (0, 127, 254):
        rgba = [0.0] * 4
        table.GetColor(index, rgba)
        colors.append(rgba)
    fallen, none, risen = colors
    assert fallen[2] > fallen[0]
    assert risen[0] > risen[2]
    assert (fallen[3], none[3], risen[3]) == (1, 0, 1)
    assert differenceColors(a_scene) is table
