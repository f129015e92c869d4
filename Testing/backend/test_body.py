"""The body envelope: taken from the CT without air and table, or estimated around the labels."""

import numpy as np
import pytest

from maisi.body import body_from_ct, body_from_labels, with_body
from maisi.errors import InputError
from maisi.labels import BODY
from maisi.volume import ImageVolume, LabelVolume

SHAPE, AFFINE = (80, 70, 40), np.diag([5.0, 5.0, 5.0, 1.0])
X, Y, Z = np.ogrid[:80, :70, :40]


def ellipse(center, radii):
    """An elliptic cylinder along superior, in voxels."""
    return (((X - center[0]) / radii[0]) ** 2 + ((Y - center[1]) / radii[1]) ** 2 + 0 * Z) <= 1


TRUNK = ellipse((40, 30), (32, 20))
LUNG = ellipse((25, 30), (9, 12))


@pytest.fixture
def a_chest():
    """Labels (liver 1, right lung 32, no body) and CT of a trunk that lies on a thin table."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[ellipse((55, 30), (12, 14))] = 1
    labels[LUNG] = 32
    hu = np.full(SHAPE, -1000, np.int16)
    hu[TRUNK] = 20
    hu[LUNG] = -850
    hu[5:75, 51:53] = 100  # the table touches the back
    return ImageVolume(hu, AFFINE), LabelVolume(labels, AFFINE)


def test_body_from_ct_is_the_trunk_without_air_and_table(a_chest):
    image, labels = a_chest
    body = body_from_ct(image, labels).array
    assert np.array_equal(body[labels.array > 0], labels.array[labels.array > 0])
    assert np.count_nonzero((body > 0) ^ TRUNK) < 0.02 * TRUNK.sum()
    assert not body[:, 54:].any()


def test_unlabeled_lungs_are_inside_the_body(a_chest):
    image, labels = a_chest
    labels = LabelVolume(np.where(labels.array == 32, 0, labels.array).astype(np.uint8), AFFINE)
    assert (body_from_ct(image, labels).array[LUNG] == BODY).all()


def test_air_is_found_on_both_sides_of_a_patient_who_fills_the_width(a_chest):
    image, labels = a_chest
    narrow = np.s_[12:68]
    moved = AFFINE.copy()
    moved[0, 3] = 60
    image, labels = ImageVolume(image.array[narrow], moved), LabelVolume(labels.array[narrow], moved)
    body = body_from_ct(image, labels).array
    assert not body[:, :5].any()
    assert not body[:, 55:].any()


def test_table_padding_beside_labeled_lungs_is_left_out(a_chest):
    image, labels = a_chest
    hu = image.array.copy()
    hu[5:75, 50:64] = -900  # foam inside a hard shell, not connected to the air around
    shell = np.zeros(SHAPE, bool)
    shell[3:77, 49:66] = True
    shell[5:75, 51:64] = False
    hu[shell & ~TRUNK] = 200
    body = body_from_ct(ImageVolume(hu, AFFINE), labels).array
    assert not body[10:70, 53:62].any()


def test_body_from_labels_reaches_a_little_beyond_them_and_has_no_holes():
    ring = ellipse((40, 30), (28, 16)) & ~ellipse((40, 30), (25, 13))
    labels = LabelVolume(np.where(ring, 63, 0).astype(np.uint8), AFFINE)
    body = body_from_labels(labels).array
    assert (body[ring] == 63).all()
    assert body[ellipse((40, 30), (31, 19))].all()  # 15 mm beyond, and everything inside
    assert not body[~ellipse((40, 30), (36, 24))].any()  # but not 40 mm


def test_separate_organs_get_one_trunk_around_them():
    array = np.zeros(SHAPE, np.uint8)
    array[20:28, 26:34, 10:30] = 1
    array[50:58, 26:34, 10:30] = 3
    body = body_from_labels(LabelVolume(array, AFFINE)).array
    assert body[20:58, 28:32, 12:28].all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_envelope_does_not_depend_on_how_the_voxels_are_stored(order):
    array = np.zeros((48, 48, 48), np.uint8)
    array[16:30, 18:28, :] = 1  # cut by the top and bottom of the grid: the patient goes on
    straight = body_from_labels(LabelVolume(array, AFFINE)).array
    turned = np.flip(array.transpose(order), 0)
    affine = np.eye(4)[:, [*order, 3]] * [-5, 5, 5, 1]
    result = body_from_labels(LabelVolume(np.ascontiguousarray(turned), affine)).array
    assert np.array_equal(np.flip(result, 0).transpose(np.argsort(order)), straight)


def test_thin_voxels_give_the_same_envelope():
    array = np.zeros((48, 48, 20), np.uint8)
    array[16:30, 18:28, 5:15] = 1
    thick = body_from_labels(LabelVolume(array, AFFINE)).array
    fine = np.repeat(array, 5, axis=2)
    affine = np.diag([5.0, 5.0, 1.0, 1.0])
    thin = body_from_labels(LabelVolume(fine, affine)).array
    assert np.mean((thin > 0) != np.repeat(thick > 0, 5, axis=2)) < 0.03


def test_a_body_that_is_there_is_not_touched(a_chest):
    image, labels = a_chest
    covered = LabelVolume(np.where(TRUNK & (labels.array == 0), BODY, labels.array).astype(np.uint8), AFFINE)
    for given in (None, image):
        result, notice = with_body(covered, given)
        assert result is covered
        assert notice is None


def test_a_missing_body_is_added_and_told(a_chest):
    image, labels = a_chest
    from_ct, notice = with_body(labels, image)
    assert "CT" in notice
    estimated, other = with_body(labels)
    assert "estimated" in other
    for volume in (from_ct, estimated):
        assert (volume.array == BODY).any()
        assert np.array_equal(volume.array[labels.array > 0], labels.array[labels.array > 0])


def test_a_scrap_of_body_does_not_count_as_a_body(a_chest):
    _, labels = a_chest
    array = labels.array.copy()
    array[38:42, 28:32] = BODY
    assert with_body(LabelVolume(array, AFFINE))[1] is not None


def test_an_empty_label_map_is_refused():
    with pytest.raises(InputError, match="empty"):
        with_body(LabelVolume(np.zeros(SHAPE, np.uint8), AFFINE))


def test_a_ct_of_another_grid_is_refused(a_chest):
    image, labels = a_chest
    with pytest.raises(InputError, match="different grids"):
        body_from_ct(ImageVolume(image.array[1:], AFFINE), labels)
