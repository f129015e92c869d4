"""The HU quality check: right bands, right voxels, honest verdicts."""

import json

import numpy as np
import pytest

from maisi.checks.hu import BANDS, COMPATIBLE_BANDS, MIN_VOXELS, check_hu, hu_report, hu_table
from maisi.errors import InputError
from maisi.volume import ImageVolume, LabelVolume

AFFINE = np.eye(4)


def a_case(hu_of):
    """A CT with a slab of 10 x 10 x 10 voxels for each id."""
    labels = np.repeat(np.array(list(hu_of), np.uint8), 10)[:, None, None] * np.ones((1, 10, 10), np.uint8)
    image = np.repeat(np.array(list(hu_of.values()), np.int16), 10)[:, None, None] * np.ones((1, 10, 10), np.int16)
    return ImageVolume(image, AFFINE), LabelVolume(labels, AFFINE)


def test_usual_tissues_pass():
    readings = check_hu(*a_case({1: 60, 3: 50, 4: 40, 5: 35, 28: -850, 32: -840, 35: 200, 22: 35, 98: 55}))
    assert [r.name for r in readings] == ["liver", "spleen", "pancreas", "kidney", "lung", "bone", "brain", "muscle"]
    assert all(r.passed for r in readings)


@pytest.mark.parametrize(("id_", "hu"), [(1, -100), (1, 170), (14, 300), (32, -300), (120, 40), (107, -60)])
def test_tissues_out_of_range_fail(id_, hu):
    (reading,) = check_hu(*a_case({id_: hu}))
    assert not reading.passed
    assert reading.median_hu == hu
    assert reading.voxels == 1000


def test_the_median_is_taken_over_all_ids_of_an_organ_and_lesions_are_left_out():
    (kidney,) = check_hu(*a_case({5: 20, 14: 40, 129: 900, 116: 0, 200: -100}))
    assert kidney.median_hu == 30
    assert kidney.voxels == 2000


def test_absent_and_tiny_organs_give_no_reading():
    image, labels = a_case({1: 60})
    tiny = np.zeros_like(labels.array)
    tiny.flat[: MIN_VOXELS - 1] = 1
    assert check_hu(image, LabelVolume(tiny, AFFINE)) == []
    tiny.flat[MIN_VOXELS] = 1
    assert len(check_hu(image, LabelVolume(tiny, AFFINE))) == 1


def test_every_lung_lobe_counts():
    assert next(band for band in BANDS if band.name == "lung").ids == (28, 29, 30, 31, 32)


def test_the_compatible_list_is_the_one_of_the_reference():
    bands = {band.name: band for band in COMPATIBLE_BANDS}
    assert list(bands) == ["liver", "spleen", "pancreas", "kidney", "lung", "bone", "brain"]
    assert bands["lung"].ids == (28, 29, 30, 31)
    assert bands["bone"].ids == (*range(33, 57), *range(63, 98), 120, 122, 127)
    assert (bands["bone"].low, bands["bone"].high) == (71.40, 1000)
    assert check_hu(*a_case({32: 60}), COMPATIBLE_BANDS) == []
    image, labels = a_case({1: 60})
    labels.array[:], labels.array[0, 0, 0] = 0, 1
    assert len(check_hu(image, labels, COMPATIBLE_BANDS)) == 1  # however small


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_medians_are_exact_in_any_memory_order_and_type(order, dtype):
    chance = np.random.default_rng(3)
    labels = chance.choice(np.array([0, 1, 3, 5, 14, 40, 98, 200], np.uint8), (20, 15, 11))
    image = chance.normal(40, 300, labels.shape).astype(dtype)
    volumes = (
        ImageVolume(np.asarray(image, order=order), AFFINE),
        LabelVolume(np.asarray(labels, order=order), AFFINE),
    )
    readings = check_hu(*volumes)
    assert [r.name for r in readings] == ["liver", "spleen", "kidney", "bone", "muscle"]
    for reading in readings:
        assert reading.median_hu == np.median(image[np.isin(labels, reading.ids)])


def test_the_report_is_json_and_the_table_marks_own_ranges():
    readings = check_hu(*a_case({1: 60, 3: 500, 98: 55}))
    report = json.loads(json.dumps(hu_report(readings)))
    assert (report["passed"], report["total"]) == (2, 3)
    assert report["organs"][1]["median_hu"] == 500
    table = hu_table(readings)
    assert "OUTSIDE" in table.splitlines()[2]
    assert "muscle*" in table
    assert "2 of 3 organs in range" in table


def test_different_grids_are_refused():
    image, labels = a_case({1: 60})
    with pytest.raises(InputError, match="different grids"):
        check_hu(ImageVolume(image.array, np.diag([2.0, 1, 1, 1])), labels)
