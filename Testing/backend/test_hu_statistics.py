"""Ranges learned from the user's own CTs: right pairs, the reference's rule, honest about too few images."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maisi.checks.hu import check_hu
from maisi.checks.statistics import OrganStatistics, learn, notices, read_bands, to_json
from maisi.datasets import find_pairs
from maisi.errors import InputError
from maisi.files import write_json, write_volume
from maisi.volume import ImageVolume, LabelVolume

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def a_case(folder, name, liver, spleen=None):
    """Write ``name_image`` and ``name_label`` with a liver and perhaps a spleen of the given HU."""
    labels = np.zeros((12, 8, 8), np.uint8)
    labels[:4] = 1
    labels[8:] = 0 if spleen is None else 3
    hu = np.full(labels.shape, -1000, np.int16)
    hu[labels == 1], hu[labels == 3] = liver, spleen or 0
    write_volume(folder / f"{name}_image.nii.gz", ImageVolume(hu, AFFINE))
    write_volume(folder / f"{name}_label.nrrd", LabelVolume(labels, AFFINE))


@pytest.fixture
def a_folder_of_cases(tmp_path):
    """Four livers of 50, 60, 70, 80 HU; one of them with a spleen."""
    for number, liver in enumerate((50, 60, 70, 80)):
        a_case(tmp_path, f"case{number}", liver, 45 if number == 0 else None)
    return tmp_path


def test_the_ranges_follow_the_rule_of_the_reference(a_folder_of_cases):
    (liver,) = learn(find_pairs(a_folder_of_cases))
    assert (liver.name, liver.medians) == ("liver", (50, 60, 70, 80))
    assert liver.mean == 65
    assert liver.sigma == pytest.approx(np.sqrt(500 / 3))
    assert liver.low == pytest.approx(65 - 3 * liver.sigma)
    assert liver.high == pytest.approx(65 + 3 * liver.sigma)


def test_percentiles_widen_a_range_where_there_are_outliers():
    organ = OrganStatistics("liver", (1,), (60.0,) * 997 + (1000.0,) * 10)
    assert organ.p99_5 == 1000
    assert organ.mean + 3 * organ.sigma < 400
    assert organ.high == 1000


@given(st.lists(st.floats(-1000, 1000), min_size=3, max_size=300))
def test_a_range_holds_all_but_the_most_extreme_of_what_it_was_learned_from(medians):
    organ = OrganStatistics("liver", (1,), tuple(medians))
    few = np.ceil(0.005 * len(medians)) if len(medians) > 10 else 0  # at most 10: within 3 sigma whatever they are
    assert sum(m < organ.low - 1e-6 for m in medians) <= few
    assert sum(m > organ.high + 1e-6 for m in medians) <= few
    assert organ.low <= organ.p0_5 <= organ.p99_5 <= organ.high


def test_a_file_of_statistics_gives_the_check_its_bands(a_folder_of_cases):
    statistics = learn(find_pairs(a_folder_of_cases))
    write_json(a_folder_of_cases / "stats.json", to_json(statistics))
    bands = read_bands(a_folder_of_cases / "stats.json")
    for hu, passed in ((65, True), (103, True), (105, False), (20, False)):
        labels = np.ones((5, 5, 5), np.uint8)
        image = ImageVolume(np.full(labels.shape, hu, np.int16), AFFINE)
        (reading,) = check_hu(image, LabelVolume(labels, AFFINE), bands)
        assert reading.passed is passed
        assert not reading.reference
    content = json.loads((a_folder_of_cases / "stats.json").read_text())["organs"][0]
    assert (content["images"], content["mean"], content["medians"]) == (4, 65, [50, 60, 70, 80])


def test_too_few_images_are_told(a_folder_of_cases):
    few, missing = notices(learn(find_pairs(a_folder_of_cases)))
    assert "liver (4)" in few
    assert "spleen" in missing


def test_files_pair_by_name_or_by_folder(tmp_path):
    for name in ("a_image.nii.gz", "a_label.nii.gz", "b-ct.nrrd", "b-seg.nrrd", "lone_image.mha", "notes_label.txt"):
        (tmp_path / name).touch()
    for case in ("x", "y"):
        (tmp_path / "sub" / case).mkdir(parents=True)
        for name in ("ct.nii.gz", "labels.nii.gz"):
            (tmp_path / "sub" / case / name).touch()
    found = [
        (i.relative_to(tmp_path).as_posix(), la.relative_to(tmp_path).as_posix()) for i, la in find_pairs(tmp_path)
    ]
    assert sorted(found) == [
        ("a_image.nii.gz", "a_label.nii.gz"),
        ("b-ct.nrrd", "b-seg.nrrd"),
        ("sub/x/ct.nii.gz", "sub/x/labels.nii.gz"),
        ("sub/y/ct.nii.gz", "sub/y/labels.nii.gz"),
    ]


def test_folders_that_cannot_be_learned_from_are_told(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        find_pairs(tmp_path / "absent")
    with pytest.raises(InputError, match="NAME_image and NAME_label"):
        find_pairs(tmp_path)
    a_case(tmp_path, "one", 60)
    with pytest.raises(InputError, match="nothing to learn"):
        learn(find_pairs(tmp_path))
    (tmp_path / "one_ct.nii").touch()
    with pytest.raises(InputError, match="could all be a pair"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"organs": [{"name": "liver"}]}', '{"organs": 3}'])
def test_files_that_are_no_statistics_are_told(tmp_path, content):
    (tmp_path / "stats.json").write_text(content)
    with pytest.raises(InputError, match="holds no statistics"):
        read_bands(tmp_path / "stats.json")
    with pytest.raises(InputError, match="no file"):
        read_bands(tmp_path / "absent.json")
