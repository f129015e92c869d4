"""DICOM series and segmentations, read back by readers that know nothing of this project."""

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.grids import anOblique
from maisi.errors import InputError
from maisi.labels import LABELS
from maisi.outputs.dicom import SEGMENTATION, check_folder, write_series
from maisi.outputs.origin import Origin
from maisi.volume import ImageVolume, LabelVolume

CT = Origin("ct", "embedded", 7, "ab" * 32)
SHAPE = (11, 9, 6)
OBLIQUE = anOblique()


def an_image(shape=SHAPE, affine=OBLIQUE):
    """Every voxel has a value of its own."""
    return ImageVolume(np.arange(np.prod(shape), dtype=np.int16).reshape(shape) - 300, affine)


def read_series(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def positions_lps(image):
    """Values and LPS mm of all voxels of a SimpleITK image."""
    places = np.array([image.TransformIndexToPhysicalPoint(i) for i in np.ndindex(image.GetSize())])
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0).ravel(), places


def headers(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


@settings(max_examples=15, deadline=None)
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    flip=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_every_voxel_is_where_it_was_in_the_patient(tmp_path_factory, degrees, flip, spacing, origin):
    image = an_image((5, 4, 3), anOblique(spacing, flip, degrees, origin))
    folder = tmp_path_factory.mktemp("series") / "ct"
    write_series(folder, image, CT)
    values, lps = positions_lps(read_series(folder))
    assert np.array_equal(np.sort(values), np.sort(image.array.ravel()))
    index = np.array([np.argwhere(image.array == value)[0] for value in values])
    expected = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    assert np.abs(lps * [-1, -1, 1] - expected).max() < 1e-3


def test_a_right_handed_volume_comes_back_as_it_was(tmp_path):
    image = an_image()
    write_series(tmp_path / "ct", image, CT)
    found = read_series(tmp_path / "ct")
    assert np.array_equal(sitk.GetArrayFromImage(found).transpose(2, 1, 0), image.array)
    assert found.GetSpacing() == pytest.approx(image.spacing)
    lps = np.diag([-1, -1, 1]) @ image.affine[:3]
    assert found.GetOrigin() == pytest.approx(lps[:, 3])
    assert np.reshape(found.GetDirection(), (3, 3)) == pytest.approx(lps[:, :3] / image.spacing)


def test_each_slice_says_that_it_is_synthetic_and_names_nobody(tmp_path):
    write_series(tmp_path / "ct", an_image(), CT)
    slices = headers(tmp_path / "ct")
    assert len(slices) == SHAPE[2]
    for number, slice_ in enumerate(slices, 1):
        assert slice_.InstanceNumber == number
        assert slice_.SOPClassUID == pydicom.uid.CTImageStorage
        assert slice_.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert slice_.SyntheticData == "YES"
        assert slice_.ContentQualification == "RESEARCH"
        assert slice_.BurnedInAnnotation == "NO"
        assert slice_.SeriesDescription.startswith("SYNTHETIC")
        assert "SYNTHETIC" in str(slice_.PatientName)
        assert slice_.PatientID.startswith("SYNTHETIC")
        assert (slice_.PatientBirthDate, slice_.PatientSex) == ("", "")
        assert "Not for clinical use" in slice_.ImageComments
        maker = slice_.ContributingEquipmentSequence[0]
        assert maker.ManufacturerModelName == "embedded"
        for text in (maker.ContributionDescription, slice_.DerivationDescription):
            assert "seed 7" in text
            assert CT.checksum in text
    assert slices[0].pixel_array.dtype == np.int16


def test_identities_are_new_and_valid_and_the_frame_of_reference_is_one(tmp_path):
    for name in ("a", "b"):
        write_series(tmp_path / name, an_image(), CT)
    first, second = headers(tmp_path / "a"), headers(tmp_path / "b")
    uids = [slice_.SOPInstanceUID for slice_ in first + second]
    assert len(set(uids)) == 2 * SHAPE[2]
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        told = [{slice_[keyword].value for slice_ in series} for series in (first, second)]
        assert [len(uids) for uids in told] == [1, 1]
        assert told[0] != told[1]


def test_an_mr_image_is_an_mr_series_without_hu(tmp_path):
    image = ImageVolume(np.full(SHAPE, 321.6, np.float32), OBLIQUE)
    write_series(tmp_path / "mr", image, Origin("mr", "rflow-mr", 1))
    slice_ = headers(tmp_path / "mr")[0]
    assert slice_.SOPClassUID == pydicom.uid.MRImageStorage
    assert "RescaleType" not in slice_
    assert (slice_.pixel_array == 322).all()


@pytest.mark.parametrize(("image", "iod"), [("ct", "ct-image"), ("mr", "mr-image")])
def test_all_that_the_standard_demands_is_there_and_nothing_foreign(tmp_path, image, iod):
    """Against the tables of the standard that highdicom carries."""
    standard = pytest.importorskip("highdicom._standard_utils")
    write_series(tmp_path / "s", an_image(), Origin(image, "größer", 7))
    slice_ = headers(tmp_path / "s")[0]
    known = set()
    for module in standard.get_iod_module_map()[iod]:
        top = [a for a in standard.get_module_attribute_map()[module["key"]] if not a["path"]]
        known |= {attribute["keyword"] for attribute in top}
        if module["usage"] == "M":
            demanded = {a["keyword"] for a in top if a["type"] in ("1", "2")}
            assert {k for k in demanded if k not in slice_} == set(), module["key"]
            assert {a["keyword"] for a in top if a["type"] == "1" and slice_[a["keyword"]].is_empty} == set()
    assert {element.keyword for element in slice_} <= known
    assert "größer" in slice_.SeriesDescription


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty folder"):
        write_series(tmp_path, an_image(), CT)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled_and_one_without_a_parent_refused(tmp_path):
    (tmp_path / "ct").mkdir()
    write_series(tmp_path / "ct", an_image(), CT)
    assert len(headers(tmp_path / "ct")) == SHAPE[2]
    with pytest.raises(InputError, match="does not exist"):
        check_folder(tmp_path / "no" / "ct")


def test_nothing_remains_when_writing_fails(tmp_path):
    with pytest.raises(InputError, match="without a meaning: 2;"):
        write_series(tmp_path / "ct", an_image(), CT, LabelVolume(np.full(SHAPE, 2, np.uint8), OBLIQUE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (np.full(SHAPE, 4e4, np.float32), OBLIQUE, "16 bits"),
        (np.full(SHAPE, np.nan, np.float32), OBLIQUE, "16 bits"),
        (np.zeros(SHAPE, np.int16), np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "perpendic"),
    ],
)
def test_what_dicom_cannot_hold_is_told(tmp_path, array, affine, message):
    with pytest.raises(InputError, match=message):
        write_series(tmp_path / "ct", ImageVolume(array, affine), CT)


# ---- segmentation


@pytest.fixture(params=[(1, 1, 1), (-1, 1, 1)], ids=["right-handed", "left-handed"])
def a_series_with_labels(request, tmp_path):
    """The folder, the image and the label map: liver, its tumor, the right kidney, the body."""
    image = an_image(affine=anOblique(flip=request.param))
    array = np.zeros(SHAPE, np.uint8)
    array[1:] = 200
    array[2:7, 1:6, 1:4] = 1
    array[3:5, 2:4, 2:3] = 26
    array[8:, 5:, 3:] = 5
    labels = LabelVolume(array, image.affine)
    write_series(tmp_path / "ct", image, CT, labels)
    return tmp_path / "ct", image, labels


def test_the_segments_mark_the_voxels_of_their_labels(a_series_with_labels):
    folder, image, labels = a_series_with_labels
    segmentation = highdicom.seg.segread(folder / SEGMENTATION)
    slices = headers(folder)
    found = segmentation.get_pixels_by_source_instance([s.SOPInstanceUID for s in slices], combine_segments=True)
    pixels = np.stack([s.pixel_array for s in slices])
    for number in segmentation.segment_numbers:
        name = segmentation.get_segment_description(number).segment_label
        id_ = next(label.id for label in LABELS.values() if label.name == name)
        assert set(pixels[found == number]) == set(image.array[labels.array == id_])
    assert segmentation.number_of_segments == 4


def test_the_segments_carry_codes_colors_and_the_series(a_series_with_labels):
    folder, *_ = a_series_with_labels
    segmentation = highdicom.seg.segread(folder / SEGMENTATION)
    described = {s.segment_label: s for s in map(segmentation.get_segment_description, range(1, 5))}
    kidney, tumor = described["right kidney"], described["hepatic tumor"]
    assert (kidney.segmented_property_type.value, kidney.segmented_property_type.scheme_designator) == (
        "64033007", "SCT"
    )  # fmt: skip
    modifier = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert modifier.CodeMeaning == "Right"
    assert tumor.segmented_property_category.meaning == "Morphologically Altered Structure"
    assert tumor.anatomic_regions[0].meaning == "Liver"
    color = highdicom.color.CIELabColor.from_dicom_value(tumor.RecommendedDisplayCIELabValue)
    assert color.to_rgb() == pytest.approx(LABELS[26].color, abs=1)
    assert tumor.algorithm_type.value == "SEMIAUTOMATIC"
    first = headers(folder)[0]
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == first.SeriesInstanceUID
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert segmentation[keyword].value == first[keyword].value
    assert segmentation.SyntheticData == "YES"


def test_every_label_with_a_meaning_can_be_a_segment(tmp_path):
    ids = [label.id for label in LABELS.values() if label.id and not label.unused]
    array = np.zeros((len(ids), 2, 2), np.uint8)
    array[:] = np.array(ids, np.uint8)[:, None, None]
    image = an_image(array.shape)
    write_series(tmp_path / "ct", image, CT, LabelVolume(array, image.affine))
    segmentation = highdicom.seg.segread(tmp_path / "ct" / SEGMENTATION)
    names = [segmentation.get_segment_description(n).segment_label for n in segmentation.segment_numbers]
    assert names == [LABELS[id_].name for id_ in ids]


def test_labels_of_another_grid_or_without_any_id_are_refused(tmp_path):
    image = an_image()
    with pytest.raises(InputError, match="different grids"):
        write_series(tmp_path / "ct", image, CT, LabelVolume(np.ones((3, 3, 3), np.uint8), image.affine))
    with pytest.raises(InputError, match="empty"):
        write_series(tmp_path / "ct", image, CT, LabelVolume(np.zeros(SHAPE, np.uint8), image.affine))
