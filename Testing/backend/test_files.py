"""Files: what is read is where it was, what is written is complete, and bad files get a sentence."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maisi.errors import InputError
from maisi.files import check_writable, read_image, read_labels, write_volume
from maisi.labels import BODY
from maisi.volume import ImageVolume, LabelVolume

AFFINE = np.array([[-1.5, 0, 0, 90], [0, 0, 2, -20], [0, -3, 0, 40], [0, 0, 0, 1.0]])  # stored L, I, A


@pytest.fixture
def labels():
    array = np.zeros((5, 6, 7), np.uint8)
    array[1:4, 2:5, 3] = 1
    array[2, 3, 3] = 26
    return LabelVolume(array, AFFINE)


def save_nifti(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_what_is_written_is_read_back_in_place(tmp_path, labels, ending):
    path = tmp_path / f"labels{ending}"
    write_volume(path, labels)
    back = read_labels(path)
    assert np.array_equal(back.array, labels.array)
    assert back.same_grid(labels)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 8)] * 3),
    mirrored=st.booleans(),
    ending=st.sampled_from([".nii.gz", ".nrrd"]),
)
def test_oblique_and_mirrored_images_keep_their_place(tmp_path_factory, angles, spacing, mirrored, ending):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 0] *= -1 if mirrored else 1
    affine[:3, 3] = 12.5, -80, 333
    image = ImageVolume(np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 1000, affine)
    path = tmp_path_factory.getbasetemp() / f"oblique{ending}"
    write_volume(path, image)
    back = read_image(path)
    assert back.same_grid(image)
    assert np.array_equal(back.array, image.array)
    assert back.array.dtype == np.int16


def test_nrrd_and_nifti_of_the_same_volume_lie_in_the_same_place(tmp_path, labels):
    """SimpleITK speaks LPS and nibabel RAS: read one writer's file with the other library."""
    write_volume(tmp_path / "a.nrrd", labels)
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.nrrd"), tmp_path / "b.nii.gz")
    assert read_labels(tmp_path / "b.nii.gz").same_grid(labels)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_the_description_stands_in_the_file(tmp_path, labels, ending):
    path = tmp_path / f"ct{ending}"
    write_volume(path, labels, "SYNTHETIC CT " + "x" * 100)
    header = sitk.ReadImage(path)
    assert header["descrip" if ending == ".nii.gz" else "description"].startswith("SYNTHETIC CT x")


def test_an_image_with_fractions_stays_float(tmp_path):
    image = read_image(save_nifti(tmp_path / "ct.nii.gz", np.full((4, 4, 4), 10.5, np.float64)))
    assert image.array.dtype == np.float32
    assert (image.array == 10.5).all()


def test_whole_numbers_in_a_float_label_map_are_ids(tmp_path):
    back = read_labels(save_nifti(tmp_path / "labels.nii.gz", np.full((4, 4, 4), BODY, np.float32)))
    assert (back.array == BODY).all()


def test_other_numberings_are_mapped(tmp_path):
    path = save_nifti(tmp_path / "ts.nii.gz", np.full((4, 4, 4), 5, np.uint8))
    assert (read_labels(path, "totalsegmentator").array == 1).all()


def test_a_trailing_axis_of_one_is_no_fourth_dimension(tmp_path):
    assert read_labels(save_nifti(tmp_path / "x.nii.gz", np.zeros((4, 5, 6, 1), np.uint8))).shape == (4, 5, 6)


# ---- segmentations of 3D Slicer

TISSUE = "Segmentation category and type~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic codes~^^~^^"
MASS = "Segmentation category and type~SCT^49755003^Altered~SCT^4147007^Mass~^^~Anatomic codes~SCT^10200004^Liver~^^"


def save_segmentation(path, layers, segments):
    """``layers``: [I, J, K] arrays. ``segments``: (name, layer, value, terminology entry)."""
    stacked = np.stack([layer.transpose(2, 1, 0) for layer in layers], -1).astype(np.uint8)
    image = sitk.GetImageFromArray(stacked if len(layers) > 1 else stacked[..., 0], isVector=len(layers) > 1)
    image.SetOrigin((-90, 20, 40))
    for n, (name, layer, value, entry) in enumerate(segments):
        image[f"Segment{n}_ID"] = f"Segment_{n}"
        image[f"Segment{n}_Name"] = name
        image[f"Segment{n}_Tags"] = f"Some.Tag:1|TerminologyEntry:{entry}|"
        if layer is not None:
            image[f"Segment{n}_Layer"] = str(layer)
            image[f"Segment{n}_LabelValue"] = str(value)
    sitk.WriteImage(image, path)
    return path


@pytest.fixture
def two_layers():
    """Liver 1 and kidney 2 in one layer, a tumor that overlaps the liver in another."""
    organs, tumor = np.zeros((2, 8, 9, 10), np.uint8)
    organs[1:5, 2:6, 3:7] = 1
    organs[6:8, 2:6, 3:7] = 2
    tumor[2:4, 3:5, 4:6] = 1
    return organs, tumor


def test_segments_get_their_ids_by_name_and_tumors_lie_on_top(tmp_path, two_layers):
    segments = [("Liver tumour", 1, 1, TISSUE), ("Liver", 0, 1, TISSUE), ("Kidney_L", 0, 2, TISSUE)]
    labels = read_labels(save_segmentation(tmp_path / "s.seg.nrrd", two_layers, segments))
    organs, tumor = two_layers
    assert np.array_equal(labels.array == 26, tumor == 1)
    assert np.array_equal(labels.array == 14, organs == 2)
    assert np.array_equal(labels.array == 1, (organs == 1) & (tumor == 0))
    assert labels.affine[:3, 3].tolist() == [90, -20, 40]


def test_a_segment_whose_name_says_nothing_is_understood_by_its_codes(tmp_path, two_layers):
    path = save_segmentation(tmp_path / "s.seg.nrrd", two_layers[1:], [("Segment_1", 0, 1, MASS)])
    assert set(np.unique(read_labels(path).array)) == {0, 26}


def test_our_own_tag_wins_over_everything(tmp_path, two_layers):
    path = save_segmentation(tmp_path / "s.seg.nrrd", two_layers[1:], [("Spleen", 0, 1, MASS + "|MAISI.Label:24")])
    assert set(np.unique(read_labels(path).array)) == {0, 24}


def test_a_name_that_contradicts_the_codes_is_told(tmp_path, two_layers):
    path = save_segmentation(tmp_path / "s.seg.nrrd", two_layers[1:], [("Spleen", 0, 1, MASS)])
    with pytest.raises(InputError, match=r'"Spleen" .* is hepatic tumor by its terminology but spleen by its name'):
        read_labels(path)


def test_old_files_have_one_layer_for_each_segment(tmp_path, two_layers):
    segments = [("Liver", None, None, TISSUE), ("Liver tumor", None, None, TISSUE)]
    labels = read_labels(save_segmentation(tmp_path / "s.seg.nrrd", two_layers, segments))
    assert set(np.unique(labels.array)) == {0, 1, 26}


def test_segments_that_are_not_understood_are_named_and_nothing_is_dropped(tmp_path, two_layers):
    segments = [("Liver", 0, 1, TISSUE), ("my thing", 0, 2, TISSUE), ("Segment_3", 1, 1, TISSUE)]
    with pytest.raises(InputError, match="my thing, Segment_3"):
        read_labels(save_segmentation(tmp_path / "s.seg.nrrd", two_layers, segments))


# ---- bad files


def truncated_nifti(folder):
    path = save_nifti(folder / "cut.nii.gz", np.random.default_rng(0).integers(0, 100, (20, 20, 20), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    return path


def truncated_nrrd(folder):
    write_volume(folder / "cut.nrrd", ImageVolume(np.zeros((20, 20, 20), np.int16), np.eye(4)))
    path = folder / "cut.nrrd"
    path.write_bytes(path.read_bytes()[:-20])
    return path


def text_called_nifti(folder):
    (folder / "text.nii.gz").write_bytes(gzip.compress(b"not an image"))
    return folder / "text.nii.gz"


def zero_spacing(folder):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), None)
    image.header["pixdim"][1:4] = 0
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(image, folder / "zero.nii")
    return folder / "zero.nii"


def negative_spacing(folder):
    path = save_nifti(folder / "negative.nii", np.zeros((4, 4, 4), np.uint8), np.diag([2.0, 2, 2, 1]))
    raw = bytearray(path.read_bytes())
    raw[80:92] = np.array([-2, -2, -2], "<f4").tobytes()  # pixdim 1-3
    raw[252:256] = np.array([0, 0], "<i2").tobytes()  # no qform, no sform: pixdim alone tells
    path.write_bytes(raw)
    return path


BAD_FILES = [
    (lambda folder: folder / "absent.nii.gz", "no file"),
    (lambda folder: folder, "not a volume file"),
    (truncated_nifti, "damaged or incomplete"),
    (truncated_nrrd, "damaged or incomplete"),
    (text_called_nifti, "damaged or incomplete"),
    (zero_spacing, "spacing of 0 x 0 x 0 mm"),
    (negative_spacing, "spacing of -2 x -2 x -2 mm"),
    (lambda folder: save_nifti(folder / "4d.nii.gz", np.zeros((4, 4, 4, 2), np.uint8)), "4 dimensions"),
    (lambda folder: save_nifti(folder / "2d.nii.gz", np.zeros((4, 4), np.uint8)), "2 dimensions"),
]


@pytest.mark.parametrize(("make", "message"), BAD_FILES)
@pytest.mark.parametrize("read", [read_labels, read_image])
def test_bad_files_get_one_sentence(tmp_path, make, message, read):
    with pytest.raises(InputError, match=message) as error:
        read(make(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 4), 0.37, np.float32), "fractions"),
        (np.full((4, 4, 4), np.nan, np.float32), "fractions"),
        (np.full((4, 4, 4), 140, np.int16), "140"),
        (np.full((4, 4, 4), -1, np.int16), "-1"),
        (np.zeros((4, 4, 4), np.complex64), "whole numbers"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        read_labels(save_nifti(tmp_path / "x.nii.gz", array))


def test_an_image_with_holes_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a number"):
        read_image(save_nifti(tmp_path / "x.nii.gz", np.full((4, 4, 4), np.nan, np.float32)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/ct.nii.gz", "does not exist"),
        ("ct.png", "ending"),
        ("ct.seg.nrrd", "ending"),
        ("folder.nii", "is a folder"),
    ],
)
def test_impossible_outputs_are_refused(tmp_path, labels, name, message):
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(InputError, match=message):
        write_volume(tmp_path / name, labels)


def test_a_folder_that_is_not_writable_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("maisi.files.tempfile.TemporaryFile", refuse)  # root may write anywhere
    with pytest.raises(InputError, match=r"not writable \(Permission denied\)"):
        check_writable(tmp_path / "ct.nii.gz")


def test_a_failed_write_leaves_the_old_file(tmp_path, labels, monkeypatch):
    path = tmp_path / "ct.nii.gz"
    write_volume(path, labels)
    before = path.read_bytes()

    def fail(image, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maisi.files.nib.save", fail)
    with pytest.raises(InputError, match="No space"):
        write_volume(path, labels)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
