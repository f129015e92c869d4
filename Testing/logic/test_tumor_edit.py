"""Tumors edited on real MRML: clipped to their organ, healed, what the masks allow, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.liver_case import AFFINE, KIDNEY, LIVER, SHAPE, SPLEEN, TUMOR, anatomy, masks, ofLabel, ras, state
from helpers.slicer_core import addSegment, addSegmentation, addVolume, slicer
from maisi.errors import InputError
from maisi.labels import find_label
from maisi.masks.lesion import Lesion
from maisi.volume import LabelVolume
from MAISISynthLib.CoreScene import startScene
from MAISISynthLib.LabelMapping import labelByTerminology, mapSegments
from MAISISynthLib.SceneIO import addSegmentation as addSegmentationFromLabels
from MAISISynthLib.SceneIO import imageArray, readLabels
from MAISISynthLib.SegmentVoxels import SegmentVoxels
from MAISISynthLib.TumorEdit import TumorEdit
from MAISISynthLib.TumorTags import LESION_TAG

CYST = find_label("left kidney cyst")


@pytest.fixture(scope="module")
def the_scene():
    return startScene()


@pytest.fixture
def a_scene(the_scene):
    """The scene of this file, empty: a new one takes half a second."""
    yield the_scene
    the_scene.Clear(0)


@pytest.fixture
def a_segmentation(a_scene):
    """Liver, spleen and kidney as imported from a label map: in one layer, where they exclude each other."""
    return addSegmentationFromLabels(a_scene, LabelVolume(anatomy(), AFFINE), "Case")


@pytest.fixture
def an_editor(a_scene, a_segmentation):
    """The options of the Segment Editor as they are at first: everything editable, other segments overwritten."""
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(a_segmentation)
    return node


# ---- what an edit does


@pytest.mark.parametrize("withEditor", [False, True])
def test_a_tumor_is_what_the_organ_says_and_stays_inside(a_segmentation, an_editor, withEditor):
    tumors = TumorEdit(a_segmentation, an_editor if withEditor else None)
    segmentId = tumors.place(ras(20, 15, 14), radius=12)
    segment = a_segmentation.GetSegmentation().GetSegment(segmentId)
    assert (segment.GetName(), labelByTerminology(segment)) == ("hepatic tumor", TUMOR)
    after = readLabels(a_segmentation, mapSegments(a_segmentation).ids).array
    changed = after != anatomy()
    assert changed.any()
    assert set(anatomy()[changed]) == {LIVER}
    assert set(after[changed]) == {TUMOR}
    measured = tumors.measure(segmentId)
    assert 0.1 < measured.clipped < 0.6, "it reaches out of the liver on one side"
    assert measured.volumeMl == pytest.approx(changed.sum() * 4.5 / 1000)
    assert 15 < measured.diameterMm < 40


@pytest.mark.parametrize("withEditor", [False, True])
def test_where_a_tumor_leaves_its_organ_returns(a_segmentation, an_editor, withEditor):
    before = masks(a_segmentation)
    tumors = TumorEdit(a_segmentation, an_editor if withEditor else None)
    segmentId = tumors.place(ras(12, 15, 14), radius=10)
    tumors.move(segmentId, np.subtract(ras(18, 20, 10), ras(12, 15, 14)))
    tumors.grow(segmentId, -4)
    tumors.reshape(segmentId, seed=8, lobulation=0.3, spiculation=0.4)
    tumors.rotate(segmentId, (0, 1, 1), 50)
    tumors.stretch(segmentId, (1.5, 1, 0.8))
    labels = readLabels(a_segmentation, mapSegments(a_segmentation).ids).array
    assert (labels[anatomy() == LIVER] != 0).all(), "no hole"
    liver, tumor = (masks(a_segmentation)[s] for s in (ofLabel(a_segmentation, LIVER), segmentId))
    assert (liver & tumor).any() != withEditor, "with the editor's options they exclude each other"
    tumors.remove(segmentId)
    after = masks(a_segmentation)
    assert after.keys() == before.keys()
    assert all((after[s] == before[s]).all() for s in before)


def test_a_tumor_painted_by_hand_is_fitted_moved_and_healed(a_scene):
    array = anatomy()
    array[8:14, 10:18, 9:16] = TUMOR
    node = addSegmentationFromLabels(a_scene, LabelVolume(array, AFFINE), "Case")
    tumors, segmentId = TumorEdit(node), ofLabel(node, TUMOR)
    painted = tumors.lesion(segmentId)
    assert painted.volume_ml == pytest.approx(6 * 8 * 7 * 4.5 / 1000, rel=0.1)
    tumors.move(segmentId, np.subtract(ras(14, 10, 8), ras(10, 10, 8)))
    labels = readLabels(node, mapSegments(node).ids).array
    assert np.count_nonzero(labels == TUMOR) == pytest.approx(6 * 8 * 7, rel=0.1)
    assert ((labels == LIVER) | (labels == TUMOR) == (anatomy() == LIVER)).all()
    assert np.allclose(tumors.lesion(segmentId).center, np.add(painted.center, np.subtract(ras(4, 0, 0), ras(0, 0, 0))))


def test_a_tumor_that_was_painted_over_is_fitted_again(a_segmentation):
    tumors = TumorEdit(a_segmentation)
    segmentId = tumors.place(ras(12, 15, 14), radius=6)
    assert tumors.lesion(segmentId) == Lesion(TUMOR, ras(12, 15, 14), (6, 6, 6))
    voxels, box = SegmentVoxels(a_segmentation), tuple(slice(0, n) for n in SHAPE)
    mask = masks(a_segmentation)[segmentId]
    mask[4:9, 15, 14] = True
    voxels.replace(segmentId, mask, box)
    assert tumors.lesion(segmentId).relief, "measured on the voxels"


def test_in_another_organ_it_becomes_another_tumor(a_segmentation):
    tumors = TumorEdit(a_segmentation)
    segmentId = tumors.place(ras(12, 24, 14), radius=5)
    tumors.move(segmentId, np.subtract(ras(32, 25, 14), ras(12, 24, 14)))
    segment = a_segmentation.GetSegmentation().GetSegment(segmentId)
    assert segment.GetName() == "kidney tumor"
    assert mapSegments(a_segmentation).ids[segmentId] == find_label("kidney tumor")
    labels = readLabels(a_segmentation, mapSegments(a_segmentation).ids).array
    assert (labels[anatomy() == LIVER] == LIVER).all()


def test_names_are_numbered_and_cysts_can_be_asked_for(a_segmentation):
    tumors = TumorEdit(a_segmentation)
    first = tumors.place(ras(12, 10, 14), radius=5)
    second = tumors.duplicate(first)
    cyst = tumors.place(ras(32, 25, 14), radius=5, label=CYST)
    names = [a_segmentation.GetSegmentation().GetSegment(s).GetName() for s in (first, second, cyst)]
    assert names == ["hepatic tumor", "hepatic tumor 2", "left kidney cyst"]
    both = masks(a_segmentation)
    assert not (both[first] & both[second]).any()
    assert tumors.measure(second).volumeMl == pytest.approx(tumors.measure(first).volumeMl, rel=0.2)
    assert list(tumors.lesions()) == [first, second, cyst]


def test_two_tumors_take_nothing_from_each_other(a_segmentation):
    tumors = TumorEdit(a_segmentation)
    still = tumors.place(ras(8, 15, 14), radius=6)
    before = masks(a_segmentation)[still]
    moving = tumors.place(ras(19, 15, 14), radius=6)
    for step in (-7, 7):
        tumors.move(moving, np.subtract(ras(step, 0, 0), ras(0, 0, 0)))
        assert (masks(a_segmentation)[still] == before).all()
        assert not (masks(a_segmentation)[moving] & before).any()
    assert tumors.measure(moving).clipped == 0


def test_a_transform_moves_the_tumor_with_its_segmentation(a_scene, a_segmentation):
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = 5, -7, 11
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    segmentId = TumorEdit(a_segmentation).add(Lesion(TUMOR, ras(12, 15, 14), (9, 6, 6), seed=3))
    before, tumors = masks(a_segmentation)[segmentId], TumorEdit(a_segmentation)
    a_segmentation.SetAndObserveTransformNodeID(transform.GetID())
    center = matrix[:3, :3] @ ras(12, 15, 14) + matrix[:3, 3]
    assert np.allclose(tumors.lesion(segmentId).center, center)
    tumors.apply(segmentId, tumors.lesion(segmentId))
    assert (masks(a_segmentation)[segmentId] != before).sum() <= 3, "rounding at the surface"
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([2.0, 1, 1, 1])))
    with pytest.raises(InputError, match="changes sizes"):
        tumors.lesion(segmentId)


def test_surfaces_follow_and_those_of_other_segments_stay(a_segmentation, an_editor):
    a_segmentation.CreateClosedSurfaceRepresentation()

    def points() -> list[int]:
        segmentIds = a_segmentation.GetSegmentation().GetSegmentIDs()
        return [a_segmentation.GetClosedSurfaceInternalRepresentation(s).GetNumberOfPoints() for s in segmentIds]

    before = points()
    tumors = TumorEdit(a_segmentation, an_editor)
    segmentId = tumors.place(ras(12, 15, 14), radius=8)
    placed = points()
    assert placed[1:3] == before[1:3]
    assert placed[0] > before[0], "the liver has a hollow where the tumor is"
    tumors.remove(segmentId)
    assert points() == before


def test_each_hole_returns_to_the_nearest_of_several_organs(a_scene):
    array = np.zeros(SHAPE, np.uint8)
    lobes = [find_label(f"right lung {part} lobe") for part in ("upper", "middle", "lower")]
    for number, lobe in enumerate(lobes):
        array[3:37, 3:33, 2 + 8 * number : 10 + 8 * number] = lobe
    node = addSegmentationFromLabels(a_scene, LabelVolume(array, AFFINE), "Lung")
    editor = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(node)
    tumors = TumorEdit(node, editor)
    segmentId = tumors.place(ras(20, 18, 14), radius=11)
    tumor = masks(node)[segmentId]
    assert len({*array[tumor]}) == 3, "it lies in all lobes"
    tumors.remove(segmentId)
    after = readLabels(node, mapSegments(node).ids).array
    assert ((after > 0) == (array > 0)).all()
    assert (after[~tumor] == array[~tumor]).all()
    assert (after == array)[tumor].mean() > 0.8, "the fissures are not known beneath it"


def test_an_organ_that_ended_at_the_tumor_returns_whole(a_scene):
    """The editor crops a labelmap to its voxels, so the place to return to may lie outside of it."""
    volume = addVolume(np.zeros(SHAPE, np.int16), AFFINE)
    node = addSegmentation(volume)
    liver = np.zeros(SHAPE, bool)
    liver[10:14, 10:14, 3:25] = True
    segmentId = addSegment(node, liver, volume, "liver")
    editor = a_scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(node)
    tumors = TumorEdit(node, editor)
    tumor = tumors.place(ras(12, 12, 22), radius=11)
    rest = masks(node)[segmentId]
    assert not rest[:, :, 20:].any()
    tumors.move(tumor, np.subtract(ras(0, 0, -4), ras(0, 0, 0)))
    tumors.remove(tumor)
    assert (masks(node)[segmentId] == liver).all()


def test_an_organ_on_another_lattice_is_seen_and_left_as_it_is(a_scene, a_segmentation, an_editor):
    fine = AFFINE.copy()
    fine[:3, :3] *= 0.5
    volume = addVolume(np.zeros([2 * n for n in SHAPE], np.int16), fine)
    liver = (anatomy() == LIVER).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    a_segmentation.GetSegmentation().RemoveSegment(ofLabel(a_segmentation, LIVER))
    segmentId = addSegment(a_segmentation, liver, volume, "liver")
    image = a_segmentation.GetSegmentation().GetSegment(segmentId).GetRepresentation("Binary labelmap")
    before = imageArray(image).copy()
    tumors = TumorEdit(a_segmentation, an_editor)
    tumor = tumors.place(ras(12, 15, 14), radius=8)
    assert tumors.measure(tumor).clipped == 0
    tumors.remove(tumor)
    image = a_segmentation.GetSegmentation().GetSegment(segmentId).GetRepresentation("Binary labelmap")
    assert np.array_equal(imageArray(image), before)


def test_a_tag_that_is_no_lesion_is_left_aside(a_segmentation):
    tumors = TumorEdit(a_segmentation)
    segmentId = tumors.place(ras(12, 15, 14), radius=9)
    a_segmentation.GetSegmentation().GetSegment(segmentId).SetTag(LESION_TAG, '{"label": "x"}')
    assert tumors.lesion(segmentId).relief
    tumors.grow(segmentId, 1)


# ---- against the editor's own modify call

positions = st.tuples(*[st.floats(4, n - 5) for n in SHAPE])
maskModes = st.sampled_from(
    [
        slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere,
        slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments,
        slicer.vtkMRMLSegmentationNode.EditAllowedInsideVisibleSegments,
        slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments,
        slicer.vtkMRMLSegmentationNode.EditAllowedOutsideVisibleSegments,
        slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment,
    ]
)
overwriteModes = st.sampled_from(
    [
        slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments,
        slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments,
        slicer.vtkMRMLSegmentEditorNode.OverwriteNone,
    ]
)


def aCase(scene, maskMode: int, overwriteMode: int, hidden: int, intensity: bool):
    """A segmentation with a liver under whole body outline, and an editor node with all its options."""
    scene.Clear(0)
    volume = addVolume(np.random.default_rng(1).integers(-100, 200, SHAPE).astype(np.int16), AFFINE)
    node = addSegmentation(volume)
    node.CreateDefaultDisplayNodes()
    array = anatomy()
    names = {"liver": LIVER, "spleen": SPLEEN, "left kidney": KIDNEY}
    segmentIds = [addSegment(node, array == label, volume, name) for name, label in names.items()]
    segmentIds.append(addSegment(node, array > SPLEEN, volume, "some region"))
    if hidden:
        node.GetDisplayNode().SetSegmentVisibility(segmentIds[hidden - 1], False)
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(node)
    editor.SetAndObserveSourceVolumeNode(volume)
    editor.SetMaskMode(maskMode)
    editor.SetMaskSegmentID(segmentIds[0])
    editor.SetOverwriteMode(overwriteMode)
    editor.SetSourceVolumeIntensityMask(intensity)
    editor.SetSourceVolumeIntensityMaskRange(-50, 120)
    return node, editor


def modify(scene, node, editor, segmentId: str, mask: np.ndarray) -> None:
    """The Segment Editor's way to add voxels to a segment."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(editor)
    logic.SetSegmentationNode(node)
    logic.SetSourceVolumeNode(editor.GetSourceVolumeNode())
    logic.SetCurrentSegmentID(segmentId)
    logic.UpdateReferenceGeometryImage()
    logic.UpdateAlignedSourceVolume()
    logic.ResetModifierLabelmapToDefault()
    logic.UpdateMaskLabelmap()
    modifier = logic.GetModifierLabelmap()
    imageArray(modifier)[...] = mask
    modifier.Modified()
    logic.ModifySegmentByLabelmap(node, segmentId, modifier, logic.ModificationModeAdd, False, False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=positions,
    radius=st.floats(4, 14),
    seed=st.integers(0, 99),
    maskMode=maskModes,
    overwriteMode=overwriteModes,
    hidden=st.integers(0, 2),
    intensity=st.booleans(),
)
def test_a_placed_tumor_is_what_the_editor_would_write(
    a_scene, position, radius, seed, maskMode, overwriteMode, hidden, intensity
):
    lesion = Lesion(TUMOR, ras(*position), (radius, radius * 0.7, radius), seed=seed)
    inLiver = lesion.rasterize(LabelVolume(anatomy(), AFFINE)) & (anatomy() == LIVER)
    node, editor = aCase(a_scene, maskMode, overwriteMode, hidden, intensity)
    segmentId = node.GetSegmentation().AddEmptySegment("new", "hepatic tumor")
    modify(a_scene, node, editor, segmentId, inLiver)
    expected = masks(node)
    mapped = list(expected)

    node, editor = aCase(a_scene, maskMode, overwriteMode, hidden, intensity)
    before = masks(node)
    if not expected["new"].any():
        with pytest.raises(InputError, match="Nothing of the hepatic tumor"):
            TumorEdit(node, editor).add(lesion)
        assert all((masks(node)[s] == before[s]).all() for s in before)
        return
    TumorEdit(node, editor).add(lesion)
    got = masks(node)
    for ours, editors in zip(got, mapped, strict=True):
        assert (got[ours] == expected[editors]).all(), node.GetSegmentation().GetSegment(ours).GetName()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.tuples(st.floats(4, 22), st.floats(5, 28), st.floats(5, 23)),
    step=st.tuples(*[st.floats(-12, 12)] * 3),
    mm=st.floats(-2, 4),
    overwriteMode=overwriteModes,
    maskMode=maskModes,
    intensity=st.booleans(),
)
def test_an_edit_changes_only_what_the_masks_allow_and_nothing_else(
    a_scene, start, step, mm, overwriteMode, maskMode, intensity
):
    everywhere = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    node, editor = aCase(a_scene, everywhere, overwriteMode, 0, False)
    segmentId = TumorEdit(node, editor).add(Lesion(TUMOR, ras(*start), (7, 6, 8)))
    editor.SetMaskMode(maskMode)
    editor.SetSourceVolumeIntensityMask(intensity)
    before = masks(node)
    lesion = TumorEdit(node, editor).lesion(segmentId).moved(step).grown(mm)
    outside = maskMode in (
        slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments,
        slicer.vtkMRMLSegmentationNode.EditAllowedOutsideVisibleSegments,
    )
    range_ = (lambda hu: (hu >= -50) & (hu <= 120)) if intensity else (lambda hu: np.ones(hu.shape, bool))
    hu = slicer.util.arrayFromVolume(editor.GetSourceVolumeNode()).transpose(2, 1, 0)
    allowed = range_(hu) & (not outside)
    raster = lesion.rasterize(LabelVolume(anatomy(), AFFINE)) & (anatomy() == LIVER)
    expected = np.where(allowed, raster, before[segmentId])
    if not expected.any():
        with pytest.raises(InputError, match="Nothing of"):
            TumorEdit(node, editor).apply(segmentId, lesion)
        return
    TumorEdit(node, editor).apply(segmentId, lesion)
    after = masks(node)
    assert (after[segmentId] == expected).all()
    whole = overwriteMode == slicer.vtkMRMLSegmentEditorNode.OverwriteNone
    for other in set(before) - {segmentId}:
        liver = node.GetSegmentation().GetSegment(other).GetName() == "liver"
        wanted = (anatomy() == LIVER) & (whole | ~expected) if liver else before[other]
        assert (after[other] == wanted).all()


# ---- bad input


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda tumors, _: tumors.place((900, 0, 0), 5), "At this place is no organ"),
        (lambda tumors, _: tumors.place(ras(32, 8, 14), 5), "At this place is spleen"),
        (lambda tumors, _: tumors.place(ras(12, 15, 14), 5), "is a hepatic tumor already"),
        (lambda tumors, _: tumors.place(ras(4, 25, 20), 90), "larger than its liver"),
        (lambda tumors, _: tumors.place(ras(4.5, 25.5, 20.5), 0.2), "smaller than a voxel"),
        (lambda tumors, _: tumors.place(ras(4, 25, 20), 5, label=CYST), "a left kidney cyst grows in left kidney only"),
        (lambda tumors, _: tumors.place(ras(4, 25, 20), 5, label=LIVER), "Label 1 is not a tumor"),
        (lambda tumors, _: tumors.place(ras(4, 25, 20), -5), "greater than 0"),
        (lambda tumors, tumor: tumors.grow(tumor, 90), "larger than its liver"),
        (lambda tumors, tumor: tumors.grow(tumor, -20), "leaves nothing"),
        (lambda tumors, tumor: tumors.move(tumor, (300, 0, 0)), "Nothing of the hepatic tumor"),
        (lambda tumors, _: tumors.grow("gone", 1), "not in the segmentation any more"),
        (lambda tumors, _: tumors.remove("gone"), "not in the segmentation any more"),
        (lambda tumors, _: tumors.measure("liver"), "'liver' is not a tumor"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(a_segmentation, act, sentence):
    tumors = TumorEdit(a_segmentation)
    tumor = tumors.place(ras(12, 15, 14), radius=6)
    segmentation = a_segmentation.GetSegmentation()
    segment = slicer.vtkSegment()
    segment.DeepCopy(segmentation.GetSegment(ofLabel(a_segmentation, LIVER)))
    segmentation.AddSegment(segment, "liver")
    before = state(a_segmentation)
    with pytest.raises(InputError, match=sentence):
        act(tumors, tumor)
    assert state(a_segmentation) == before
    assert tumors.undo()
    assert tumor not in masks(a_segmentation), "a refused act is no state to undo"


def test_no_segmentation_gets_a_sentence():
    with pytest.raises(InputError, match="Choose a segmentation"):
        TumorEdit(None)


def test_in_an_editor_undo_is_the_editors(a_segmentation):
    states = []
    tumors = TumorEdit(a_segmentation, saveState=lambda: states.append(state(a_segmentation)))
    before = state(a_segmentation)
    tumors.place(ras(12, 15, 14), 5)
    assert states == [before]
    with pytest.raises(InputError, match="undone in the Segment Editor"):
        tumors.undo()


def test_a_deleted_segmentation_gets_a_sentence(a_scene, a_segmentation):
    tumors = TumorEdit(a_segmentation)
    a_scene.RemoveNode(a_segmentation)
    for act in (tumors.lesions, tumors.undo, lambda: tumors.place(ras(12, 15, 14), 5), lambda: tumors.grow("x", 1)):
        with pytest.raises(InputError, match="was deleted"):
            act()


def test_surfaces_only_gets_a_sentence(a_segmentation):
    a_segmentation.CreateClosedSurfaceRepresentation()
    a_segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(InputError, match="surfaces or contours"):
        TumorEdit(a_segmentation).place(ras(12, 15, 14), 5)


def test_a_mask_segment_that_is_gone_gets_a_sentence(a_segmentation, an_editor):
    an_editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    an_editor.SetMaskSegmentID("gone")
    with pytest.raises(InputError, match="masking is gone"):
        TumorEdit(a_segmentation, an_editor).place(ras(12, 15, 14), 5)


def test_an_intensity_range_of_a_volume_elsewhere_gets_a_sentence(a_segmentation, an_editor):
    an_editor.SetAndObserveSourceVolumeNode(addVolume(np.zeros((5, 5, 5), np.int16), AFFINE))
    an_editor.SetSourceVolumeIntensityMask(True)
    with pytest.raises(InputError, match="not on the grid"):
        TumorEdit(a_segmentation, an_editor).place(ras(12, 15, 14), 5)
