"""What the workbench opens, and the sentences about what it cannot open."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.grids import anOblique
from helpers.slicer_core import slicer
from maisi.errors import InputError
from maisi.files import write_volume
from maisi.labels import find_label
from maisi.volume import ImageVolume, LabelVolume
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, readImage, readLabelmap, readLabels
from MAISIWebLib.Case import addCt, openCase

LIVER = find_label("liver")


@pytest.fixture
def a_folder(tmp_path, a_liver_with_tumor):
    """A label map and its CT."""
    image = np.arange(a_liver_with_tumor.array.size).reshape(a_liver_with_tumor.shape) % 200 - 100
    write_volume(tmp_path / "labels.nii.gz", a_liver_with_tumor)
    write_volume(tmp_path / "ct.nii.gz", ImageVolume(image.astype(np.int16), a_liver_with_tumor.affine))
    return tmp_path


def voxels(case) -> LabelVolume:
    return readLabels(case.segmentationNode, mapSegments(case.segmentationNode).ids)


def test_nothing_opens_the_demo_anatomy(a_scene):
    case = openCase(a_scene)
    assert case.ctNodes == ()
    assert mapSegments(case.segmentationNode).lesionCount == 1


def test_a_label_map_alone(a_scene, a_folder, a_liver_with_tumor):
    case = openCase(a_scene, [a_folder / "labels.nii.gz"])
    assert case.name == "labels"
    assert np.array_equal(voxels(case).array, a_liver_with_tumor.array)


@pytest.mark.parametrize("asFolder", [True, False])
def test_a_ct_comes_with_the_labels_that_are_true_of_it(a_scene, a_folder, a_liver_with_tumor, asFolder):
    paths = [a_folder] if asFolder else [a_folder / "labels.nii.gz", a_folder / "ct.nii.gz"]
    case = openCase(a_scene, paths)
    (ct,) = case.ctNodes
    assert readImage(ct).same_grid(voxels(case))
    assert np.array_equal(readLabelmap(ct).array, a_liver_with_tumor.array), "so that an edit knows what is new"
    assert ct.GetAttribute("MAISI.Synthetic") is None


def test_a_ct_whose_axes_run_otherwise_is_turned_to_the_labels(a_scene, a_folder, a_liver_with_tumor):
    flipped = a_liver_with_tumor.affine @ np.diag([-1, 1, 1, 1])
    flipped[:3, 3] += a_liver_with_tumor.affine[:3, 0] * (a_liver_with_tumor.shape[0] - 1)
    array = np.arange(a_liver_with_tumor.array.size).reshape(a_liver_with_tumor.shape) % 200
    write_volume(a_folder / "ct.nii.gz", ImageVolume(array[::-1].astype(np.int16), flipped))
    (ct,) = openCase(a_scene, [a_folder]).ctNodes
    assert np.array_equal(readImage(ct).array, array)


def test_a_saved_scene_opens_with_its_cts_the_newest_last(a_scene, a_liver_with_tumor, tmp_path):
    addSegmentation(a_scene, a_liver_with_tumor, "Case")
    image = ImageVolume(np.zeros(a_liver_with_tumor.shape, np.int16), a_liver_with_tumor.affine)
    addCt(a_scene, image, a_liver_with_tumor, "made").SetAttribute("MAISI.Synthetic", "1")
    addCt(a_scene, image, a_liver_with_tumor, "patient")
    assert a_scene.WriteToMRB(str(tmp_path / "a.mrb"), None)
    a_scene.Clear(0)
    case = openCase(a_scene, [tmp_path])
    assert [node.GetName() for node in case.ctNodes] == ["patient", "made"]
    assert np.array_equal(voxels(case).array, a_liver_with_tumor.array)


def test_a_segmentation_file_keeps_what_its_segments_say(a_scene, a_liver_with_tumor, tmp_path):
    node = addSegmentation(a_scene, a_liver_with_tumor, "Case")
    segmentId = next(iter(mapSegments(node).ids))
    node.GetSegmentation().GetSegment(segmentId).SetTag("MAISI.Lesion", "kept")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "case.seg.nrrd"))
    assert storage.WriteData(node)
    a_scene.Clear(0)
    case = openCase(a_scene, [tmp_path / "case.seg.nrrd"])
    assert case.segmentationNode.GetSegmentation().GetSegment(segmentId).HasTag("MAISI.Lesion")
    assert np.array_equal(voxels(case).array, a_liver_with_tumor.array)


def refused(scene, *paths) -> str:
    with pytest.raises(InputError) as error:
        openCase(scene, paths)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["missing.nii.gz", "missing.seg.nrrd", "missing.mrb"])
def test_a_file_that_is_missing(a_scene, tmp_path, name):
    assert name in refused(a_scene, tmp_path / name)


@pytest.mark.parametrize("name", ["labels.nii.gz", "a.seg.nrrd", "a.mrb"])
def test_a_file_that_is_damaged(a_scene, tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image")
    assert "may be damaged" in refused(a_scene, tmp_path / name)


def test_a_folder_without_labels_or_with_too_much_choice(a_scene, a_folder):
    (a_folder / "ct.nii.gz").rename(a_folder / "other.nii.gz")
    (a_folder / "labels.nii.gz").rename(a_folder / "ct.nii.gz")
    assert "holds no label map" in refused(a_scene, a_folder)
    (a_folder / "ct.nii.gz").rename(a_folder / "labels.nii.gz")
    (a_folder / "third.nii.gz").touch()
    assert "2 files that could be the CT (other.nii.gz, third.nii.gz)" in refused(a_scene, a_folder)


def test_a_ct_on_another_grid_or_not_in_whole_hu(a_scene, a_folder, a_liver_with_tumor):
    ct = a_folder / "ct.nii.gz"
    write_volume(ct, ImageVolume(np.zeros((9, 9, 9), np.int16), anOblique()))
    assert "on another grid" in refused(a_scene, a_folder)
    write_volume(ct, ImageVolume(np.full(a_liver_with_tumor.shape, 0.5, np.float32), a_liver_with_tumor.affine))
    assert "not whole Hounsfield units" in refused(a_scene, a_folder)


def test_three_files_and_a_label_map_without_labels(a_scene, a_folder, a_liver_with_tumor):
    labels = a_folder / "labels.nii.gz"
    assert "at most one CT" in refused(a_scene, labels, labels, labels)
    write_volume(labels, LabelVolume(np.zeros(a_liver_with_tumor.shape, np.uint8), a_liver_with_tumor.affine))
    assert "has no segments" in refused(a_scene, labels)
