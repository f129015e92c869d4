"""The two values that travel everywhere refuse what cannot be a volume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maisi.errors import InputError
from maisi.volume import ImageVolume, LabelVolume

VOXELS = np.zeros((3, 4, 5), np.uint8)


def turned(angles, spacing):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    return affine


@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.1, 10)] * 3))
def test_spacing_and_field_of_view_of_oblique_grids_are_exact(angles, spacing):
    volume = ImageVolume(VOXELS.astype(np.int16), turned(angles, spacing))
    assert volume.spacing == pytest.approx(spacing)
    assert volume.field_of_view == pytest.approx(np.multiply(spacing, (3, 4, 5)))


def test_the_same_grid_is_the_same_at_every_corner():
    volume = LabelVolume(VOXELS, np.eye(4))
    nudged, turned_a_little = np.eye(4), turned((0, 0, 0.1), (1, 1, 1))
    nudged[0, 3] = 1e-5
    assert volume.same_grid(LabelVolume(VOXELS, nudged))
    assert not volume.same_grid(LabelVolume(VOXELS, turned_a_little))
    assert not volume.same_grid(LabelVolume(VOXELS[1:], np.eye(4)))


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (VOXELS[0], np.eye(4), "3D"),
        (VOXELS[np.newaxis], np.eye(4), "3D"),
        (VOXELS[:0], np.eye(4), "non-empty"),
        (VOXELS, np.eye(3), "4x4"),
        (VOXELS, np.diag([1, np.nan, 1, 1]), "finite"),
        (VOXELS, np.diag([1, np.inf, 1, 1]), "finite"),
        (VOXELS, np.diag([0.0, 1, 1, 1]), "spacing is zero"),
        (VOXELS, np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]]), "spacing"),
        (VOXELS.astype(np.int16), np.eye(4), "uint8"),
        (VOXELS.astype(np.float32), np.eye(4), "uint8"),
    ],
)
def test_what_is_no_label_volume_is_refused(array, affine, message):
    with pytest.raises(InputError, match=message):
        LabelVolume(array, affine)
