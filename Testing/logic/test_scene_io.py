"""Segmentation node -> label map -> volume node, on every kind of grid and representation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.grids import anOblique
from helpers.slicer_core import addSegment, addSegmentation, addVolume, segmentNamed, slicer
from maisi.errors import InputError
from maisi.labels import LABELS, find_label
from maisi.volume import ImageVolume, LabelVolume
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.NodeGrid import segmentationGrid
from MAISISynthLib.SceneIO import (
    SYNTHETIC,
    addSynthetic,
    reachesOutside,
    readImage,
    readLabelmap,
    readLabels,
)
from MAISISynthLib.SceneIO import (
    addSegmentation as addSegmentationFromLabels,
)
from MAISISynthLib.VoxelOrder import inOrderOf

LIVER, TUMOR, SPLEEN = (find_label(name) for name in ("liver", "hepatic tumor", "spleen"))


def read(node) -> LabelVolume:
    return readLabels(node, mapSegments(node).ids)


def countOf(volume: LabelVolume, label: int) -> int:
    return int((volume.array == label).sum())


def transformNode(scene, matrix: np.ndarray):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Table")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


# ---- reading


def test_segments_become_labels_on_the_oblique_grid_of_the_segmentation(
    a_segmentation_with_liver_and_tumor, a_liver_with_tumor
):
    labels = read(a_segmentation_with_liver_and_tumor)
    assert np.array_equal(labels.array, a_liver_with_tumor.array), "tumor over liver, K J I order undone"
    assert labels.same_grid(a_liver_with_tumor, tolerance_mm=1e-9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    flips=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    seed=st.integers(0, 2**31),
)
def test_there_and_back_is_exact_on_any_grid(a_scene, degrees, flips, spacing, shape, seed):
    a_scene.Clear(0)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(
        np.multiply(spacing, flips)
    )
    affine[:3, 3] = np.random.default_rng(seed).uniform(-200, 200, 3)
    array = np.random.default_rng(seed).choice(np.array([0, LIVER, TUMOR, SPLEEN], np.uint8), shape)
    array[0, 0, 0] = LIVER  # never empty
    node = addSegmentationFromLabels(a_scene, LabelVolume(array, affine), "Any")
    labels = read(node)
    assert np.array_equal(labels.array, array)
    assert labels.same_grid(LabelVolume(array, affine))


def test_left_stays_left(a_scene):
    """The same anatomy stored from right to left and from left to right is the same in the patient."""
    for sign in (1, -1):
        affine = np.diag([2.0 * sign, 2, 2, 1])
        volume = addVolume(np.zeros((20, 10, 10), np.int16), affine)
        node = addSegmentation(volume)
        right = np.zeros((20, 10, 10), bool)
        right[15 if sign > 0 else 4, 5, 5] = True  # x = +30 mm or -8 mm: the patient's right is +x
        addSegment(node, right, volume, "Liver")
        index = np.argwhere(read(node).array)[0]
        assert (affine @ [*index, 1])[0] == pytest.approx(30 if sign > 0 else -8)


def test_shared_layers_give_the_same_as_separate_ones(a_segmentation_with_liver_and_tumor, a_liver_with_tumor, a_scene):
    shared = addSegmentationFromLabels(a_scene, a_liver_with_tumor, "Shared")
    assert shared.GetSegmentation().GetNumberOfLayers() == 1
    assert a_segmentation_with_liver_and_tumor.GetSegmentation().GetNumberOfLayers() == 3
    assert np.array_equal(read(shared).array, read(a_segmentation_with_liver_and_tumor).array)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ("Liver", "Spleen", SPLEEN),
        ("Spleen", "Liver", LIVER),
        ("liver tumor", "right lung lower lobe", TUMOR),
        ("right lung lower lobe", "liver tumor", TUMOR),
    ],
)
def test_in_overlaps_tumors_win_and_among_organs_the_later_one(a_volume, first, second, winner):
    node = addSegmentation(a_volume)
    mask = np.zeros((24, 20, 16), bool)
    mask[3:9, 3:9, 3:9] = True
    addSegment(node, mask, a_volume, first)
    addSegment(node, mask, a_volume, second)
    assert countOf(read(node), winner) == mask.sum()


def test_a_grid_whose_indices_do_not_start_at_zero(a_segmentation_with_liver_and_tumor, a_liver_with_tumor):
    segmentation = a_segmentation_with_liver_and_tumor.GetSegmentation()
    geometry = segmentation.GetConversionParameter("Reference image geometry").rstrip(";").split(";")
    shifted = ";".join([*geometry[:16], "2", "23", "3", "19", "0", "15", ""])
    segmentation.SetConversionParameter("Reference image geometry", shifted)
    labels = read(a_segmentation_with_liver_and_tumor)
    assert np.array_equal(labels.array, a_liver_with_tumor.array[2:, 3:])
    assert np.allclose(labels.affine @ [0, 0, 0, 1], a_liver_with_tumor.affine @ [2, 3, 0, 1])


def test_surfaces_are_converted_on_a_copy(a_segmentation_with_liver_and_tumor, a_liver_with_tumor):
    node = a_segmentation_with_liver_and_tumor
    segmentation = node.GetSegmentation()
    segmentation.SetConversionParameter("Smoothing factor", "0")  # it would eat away most of so few voxels
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    modified = segmentation.GetMTime()
    labels = read(node)
    assert labels.same_grid(a_liver_with_tumor, tolerance_mm=1e-9)
    for label in (LIVER, TUMOR, SPLEEN):
        assert countOf(labels, label) == pytest.approx(countOf(a_liver_with_tumor, label), rel=0.1)
    assert segmentation.GetMTime() == modified
    assert not segmentation.ContainsRepresentation("Binary labelmap")


def test_without_reference_geometry_the_labelmaps_give_the_grid(a_scene, a_liver_with_tumor, a_volume):
    node = addSegmentation(a_volume)
    mask = np.zeros(a_liver_with_tumor.shape, bool)
    mask[2:14, 3:15, 2:12] = True
    addSegment(node, mask, a_volume, "Liver")
    node.GetSegmentation().SetConversionParameter("Reference image geometry", "")
    labels = read(node)
    assert countOf(labels, LIVER) == mask.sum()
    position = labels.affine @ [*np.argwhere(labels.array)[0], 1]
    assert np.allclose(position, a_liver_with_tumor.affine @ [2, 3, 2, 1])


def test_a_linear_parent_transform_moves_labels_and_result(a_scene, a_segmentation_with_liver_and_tumor):
    node = a_segmentation_with_liver_and_tumor
    untransformed = read(node)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    matrix[:3, 3] = [5, 6, 7]
    transform = transformNode(a_scene, matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    labels = read(node)
    assert np.allclose(labels.affine, matrix @ untransformed.affine)
    image = ImageVolume(np.zeros(labels.shape, np.int16), labels.affine)
    volume = addSynthetic(a_scene, image, labels, segmentationGrid(node), "CT", {})
    assert volume.GetParentTransformNode() is transform
    assert readImage(volume).same_grid(labels)
    assert readLabelmap(volume).same_grid(labels)


def test_a_warping_parent_transform_is_refused(a_scene, a_segmentation_with_liver_and_tumor):
    warp = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Warp")
    warp.SetAndObserveTransformFromParent(slicer.vtkOrientedBSplineTransform())
    a_segmentation_with_liver_and_tumor.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match="'Case' is under a warping transform: harden it"):
        read(a_segmentation_with_liver_and_tumor)


def test_a_surface_without_any_grid_is_refused(a_scene):
    import vtk

    node = addSegmentation(None, "Surfaces")
    node.SetSourceRepresentationToClosedSurface()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Liver", [1, 0, 0])
    with pytest.raises(InputError, match="'Surfaces' has no voxel grid"):
        read(node)


def test_empty_segments_are_refused(a_volume):
    node = addSegmentation(a_volume, "Nothing")
    node.GetSegmentation().AddEmptySegment("", "Liver")
    with pytest.raises(InputError, match="'Nothing' is empty"):
        read(node)


def test_voxels_outside_the_grid_are_left_out_and_noticed(a_segmentation_with_liver_and_tumor, an_oblique_affine):
    node = a_segmentation_with_liver_and_tumor
    assert not reachesOutside(node)
    node.SetReferenceImageGeometryParameterFromVolumeNode(
        addVolume(np.zeros((18, 20, 16), np.int16), an_oblique_affine, "Smaller")
    )
    assert reachesOutside(node)
    assert countOf(read(node), SPLEEN) == 1 * 5 * 9


def test_reading_changes_nothing(a_segmentation_with_liver_and_tumor):
    node = a_segmentation_with_liver_and_tumor
    before = node.GetMTime(), node.GetSegmentation().GetMTime(), node.GetScene().GetNumberOfNodes()
    read(node)
    reachesOutside(node)
    assert (node.GetMTime(), node.GetSegmentation().GetMTime(), node.GetScene().GetNumberOfNodes()) == before


# ---- writing


@pytest.fixture
def a_synthetic_volume(a_scene, a_segmentation_with_liver_and_tumor, a_liver_with_tumor):
    hu = np.random.default_rng(0).integers(-1000, 1500, a_liver_with_tumor.shape).astype(np.int16)
    image = ImageVolume(hu, a_liver_with_tumor.affine)
    grid = segmentationGrid(a_segmentation_with_liver_and_tumor)
    return addSynthetic(a_scene, image, a_liver_with_tumor, grid, "CT", {}, a_segmentation_with_liver_and_tumor), image


def test_volume_node_has_the_image_on_the_same_grid(a_synthetic_volume, a_liver_with_tumor):
    node, image = a_synthetic_volume
    assert np.array_equal(readImage(node).array, image.array)
    assert readImage(node).same_grid(a_liver_with_tumor, tolerance_mm=1e-9)
    assert np.array_equal(slicer.util.arrayFromVolume(node)[3, 2, 1], image.array[1, 2, 3])


def test_volume_node_is_marked_windowed_and_placed(a_scene, a_synthetic_volume, a_segmentation_with_liver_and_tumor):
    node, _image = a_synthetic_volume
    assert node.GetAttribute(SYNTHETIC) == "1"
    display = node.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (400, 40, 0)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    item = hierarchy.GetItemByDataNode(node)
    assert item
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node.GetNodeReference("MAISI.Labels"))) == item


def test_volume_stands_beside_the_segmentation_in_its_folder(
    a_scene, a_segmentation_with_liver_and_tumor, a_liver_with_tumor
):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    study = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.CreateItem(study, a_segmentation_with_liver_and_tumor)
    image = ImageVolume(np.zeros(a_liver_with_tumor.shape, np.int16), a_liver_with_tumor.affine)
    grid = segmentationGrid(a_segmentation_with_liver_and_tumor)
    node = addSynthetic(a_scene, image, a_liver_with_tumor, grid, "CT", {}, a_segmentation_with_liver_and_tumor)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_volume_and_its_labels_survive_saving_the_scene(a_scene, a_synthetic_volume, a_liver_with_tumor, tmp_path):
    _node, image = a_synthetic_volume
    path = str(tmp_path / "scene.mrb")
    assert a_scene.WriteToMRB(path, None)
    a_scene.Clear(0)
    assert a_scene.ReadFromMRB(path, True)
    node = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetAttribute(SYNTHETIC))
    # The file formats of Slicer turn the last axis of a left-handed grid around; the voxels stay in their place.
    savedImage = inOrderOf(readImage(node), image)
    savedLabels = inOrderOf(readLabelmap(node), image)
    assert savedImage.same_grid(image)
    assert savedLabels.same_grid(image)
    assert np.array_equal(savedImage.array, image.array)
    assert np.array_equal(savedLabels.array, a_liver_with_tumor.array)


@given(
    order=st.permutations([0, 1, 2]),
    flips=st.tuples(*[st.booleans()] * 3),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_any_order_of_the_axes_is_undone(order, flips, shape):
    affine = anOblique()
    volume = ImageVolume(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), affine)
    flipped = np.diag([-1.0 if flip else 1.0 for flip in flips] + [1.0])
    flipped[:3, 3] = [n - 1 if flip else 0 for n, flip in zip(shape, flips, strict=True)]
    permuted = np.eye(4)[:, [*order, 3]]
    array = np.flip(volume.array, [axis for axis in range(3) if flips[axis]]).transpose(order)
    other = ImageVolume(array, affine @ flipped @ permuted)
    back = inOrderOf(other, volume)
    assert back.same_grid(volume)
    assert np.array_equal(back.array, volume.array)


def test_an_image_that_int16_cannot_hold_is_refused(a_scene):
    node = addVolume(np.full((3, 3, 3), 0.5, np.float32), np.eye(4), "Half")
    with pytest.raises(InputError, match="'Half' holds values that are not whole Hounsfield units"):
        readImage(node)


def test_a_volume_without_voxels_is_refused(a_scene):
    with pytest.raises(InputError, match="'Hollow' holds no image"):
        readImage(a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Hollow"))


def test_a_volume_without_labels_is_refused(a_volume):
    with pytest.raises(InputError, match="no label map with 'CT'"):
        readLabelmap(a_volume)


def test_segments_from_labels_are_fully_described(a_scene, a_liver_with_tumor):
    node = addSegmentationFromLabels(a_scene, a_liver_with_tumor, "Described")
    segment = node.GetSegmentation().GetSegment(segmentNamed(node, "hepatic tumor"))
    assert np.allclose(segment.GetColor(), np.array(LABELS[TUMOR].color) / 255, atol=1e-6)
    assert "108369006" in segment.GetTerminology()
    assert sorted(mapSegments(node).ids.values()) == sorted([LIVER, TUMOR, SPLEEN])
