"""Data sets as people have them: folders, data lists, nnU-Net."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maisi.datasets import read_dataset
from maisi.errors import InputError
from maisi.files import write_volume
from maisi.volume import ImageVolume, LabelVolume

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def an_image(path, hu: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, ImageVolume(np.full((8, 8, 8), hu, np.int16), AFFINE))


def a_label(path, value: int = 1, affine=AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, LabelVolume(np.full((8, 8, 8), value, np.uint8), affine))


def test_a_folder_of_files(tmp_path):
    for name in ("a_ct.nii.gz", "a_label.nii.gz", "b.nrrd", "b.seg.nrrd", "c.nii.gz", "case 7/ct.nii.gz", "x_seg.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = read_dataset(tmp_path)
    assert [(s.case, s.label and s.label.name) for s in found.scans] == [
        ("a_ct", "a_label.nii.gz"), ("b", "b.seg.nrrd"), ("c", None), ("case 7/ct", None),
    ]  # fmt: skip
    assert [s.case for s in found.labelled] == ["a_ct", "b"]


def test_folders_side_by_side_and_folders_of_masks(tmp_path):
    masks = "s1/segmentations/liver.nii.gz"
    for name in ("images/a.nii.gz", "labels/a.nii.gz", "images/b_img.nii.gz", "s1/ct.nii.gz", masks,
                 "s2/ct.nii.gz", "s2/gtv_mask.nii.gz"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = {s.case: s.label and s.label.relative_to(tmp_path).as_posix() for s in read_dataset(tmp_path).scans}
    assert found == {
        "images/a": "labels/a.nii.gz",
        "images/b_img": None,
        "s1/ct": "s1/segmentations",
        "s2/ct": "s2/gtv_mask.nii.gz",
    }


def test_channels_of_an_nnunet_data_set_are_scans_of_their_own(tmp_path):
    for channel in (0, 1):
        an_image(tmp_path / "imagesTr" / f"p_{channel:04d}.nii.gz")
    a_label(tmp_path / "labelsTr" / "p.nii.gz")
    content = {"labels": {"background": 0, "liver": 1}, "channel_names": {"0": "T1", "1": "FLAIR"}}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
    found = read_dataset(tmp_path)
    assert [(s.case, s.label.name, s.entry) for s in found.scans] == [
        ("p_0000", "p.nii.gz", {"modality": "T1"}), ("p_0001", "p.nii.gz", {"modality": "FLAIR"}),
    ]  # fmt: skip


def test_an_nnunet_data_set_with_folds_and_classes_by_name(tmp_path):
    for case in ("p1", "p2"):
        an_image(tmp_path / "imagesTr" / f"{case}_0000.nii.gz")
        a_label(tmp_path / "labelsTr" / f"{case}.nii.gz", 2)
    content = {"labels": {"background": 0, "Liver": 1, "liver tumour": 2}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    splits = [{"train": ["p1"], "val": ["p2"]}, {"train": ["p2"], "val": ["p1"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    found = read_dataset(tmp_path)
    assert [(s.case, s.fold) for s in found.scans] == [("p1", 1), ("p2", 0)]
    image, labels = found.read_pair(found.scans[0])
    assert np.unique(labels.array).tolist() == [26]
    assert image.array.max() == 40


def test_names_of_maisi_ids_win_over_guesses(tmp_path):
    an_image(tmp_path / "imagesTr" / "p_0000.nii.gz")
    a_label(tmp_path / "labelsTr" / "p.nii.gz")
    content = {"labels": {"background": 0, "my thing": 1}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    found = read_dataset(tmp_path)
    with pytest.raises(InputError, match="not understood: my thing"):
        found.read_labels(found.scans[0])
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "maisi_ids": {"my thing": 3}}))
    found = read_dataset(tmp_path)
    assert found.read_labels(found.scans[0]).array.max() == 3


def test_a_data_list_keeps_its_folds_and_other_keys(tmp_path):
    for case in ("1", "2"):
        an_image(tmp_path / case / "ct.nii.gz")
        a_label(tmp_path / case / "label.nii.gz", 3)
    entries = [
        {"image": f"{case}/ct.nii.gz", "label": f"{case}/label.nii.gz", "fold": int(case), "modality": "ct"}
        for case in ("1", "2")
    ]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries[:1], "validation": entries[1:]}))
    found = read_dataset(tmp_path / "list.json")
    assert [(s.case, s.fold, s.entry) for s in found.scans] == [
        ("1/ct", 1, {"modality": "ct"}),
        ("2/ct", 2, {"modality": "ct"}),
    ]
    assert found.read_labels(found.scans[1]).array.max() == 3


def test_labels_on_another_grid_are_told_with_their_case(tmp_path):
    an_image(tmp_path / "one.nii.gz")
    a_label(tmp_path / "one_label.nii.gz", 1, np.diag([2.0, 2.0, 2.0, 1.0]))
    found = read_dataset(tmp_path)
    with pytest.raises(InputError, match=r"^one: .*different grids"):
        found.read_pair(found.scans[0])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "lists nothing"),
        ('{"training": [{"label": "x"}]}', 'an entry without an "image"'),
        ('{"training": [3]}', 'an entry without an "image"'),
        ('{"training": [{"image": "absent.nii.gz"}]}', "which does not exist"),
    ],
)
def test_lists_that_cannot_be_used_get_a_sentence(tmp_path, content, sentence):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_dataset(tmp_path / "list.json")


def test_folders_that_cannot_be_used_get_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        read_dataset(tmp_path / "absent")
    with pytest.raises(InputError, match="no file"):
        read_dataset(tmp_path / "absent.json")
    with pytest.raises(InputError, match="no image"):
        read_dataset(tmp_path)
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "whole": [1, 2]}}')
    with pytest.raises(InputError, match="nnU-Net names them"):
        read_dataset(tmp_path)
    an_image(tmp_path / "imagesTr" / "p_0000.nii.gz")
    with pytest.raises(InputError, match="regions"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match="no label maps"):
        _ = read_dataset(tmp_path).labelled
    (tmp_path / "splits_final.json").write_text('[{"train": []}]')
    with pytest.raises(InputError, match="list of splits"):
        read_dataset(tmp_path)
