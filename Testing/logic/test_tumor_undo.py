"""Undo and redo of tumor edits, to the voxel, in any layer and in saved files; and what an edit leaves untouched."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.liver_case import AFFINE, LIVER, SPLEEN, TUMOR, VESSEL, anatomy, masks, ofLabel, ras, state
from helpers.slicer_core import slicer
from maisi.volume import LabelVolume
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, imageArray, readLabels
from MAISISynthLib.SegmentVoxels import SegmentVoxels
from MAISISynthLib.TumorEdit import TumorEdit

LABELMAP = "Binary labelmap"


@pytest.fixture
def a_segmentation(a_scene):
    """Liver, spleen and kidney as imported from a label map: in one layer, where they exclude each other."""
    return addSegmentation(a_scene, LabelVolume(anatomy(), AFFINE), "Case")


@pytest.fixture
def an_editor(a_scene, a_segmentation):
    """The Segment Editor as it is at first, on the segmentation: other segments are overwritten, undo is its own."""
    return editor(a_scene, a_segmentation)


def editor(scene, node) -> slicer.vtkSlicerSegmentEditorLogic:
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    logic.SetSegmentationNode(node)
    logic.SetMaximumNumberOfUndoStates(20)
    return logic


def everyAct(tumors: TumorEdit) -> list:
    """Acts one after the other, as calls."""
    segmentIds = []
    return [
        lambda: segmentIds.append(tumors.place(ras(12, 15, 14), radius=9)),
        lambda: tumors.grow(segmentIds[0], 2),
        lambda: tumors.move(segmentIds[0], (4, -3, 2)),
        lambda: segmentIds.append(tumors.duplicate(segmentIds[0])),
        lambda: tumors.reshape(segmentIds[1], 5),
        lambda: tumors.remove(segmentIds[0]),
        lambda: tumors.move(segmentIds[1], np.subtract(ras(32, 25, 14), tumors.lesion(segmentIds[1]).center)),
    ]


@pytest.mark.parametrize("withEditor", [False, True])
def test_every_act_is_undone_and_redone_to_the_voxel(a_segmentation, an_editor, withEditor):
    tumors = TumorEdit(a_segmentation, an_editor.GetSegmentEditorNode() if withEditor else None)
    states = [state(a_segmentation)]
    for act in everyAct(tumors):
        act()
        states.append(state(a_segmentation))
    assert len({str(s) for s in states}) == len(states), "every act changed something"
    for expected in states[-2::-1]:
        assert tumors.undo()
        assert state(a_segmentation) == expected
    assert not tumors.undo()
    for expected in states[1:]:
        assert tumors.redo()
        assert state(a_segmentation) == expected
    assert not tumors.redo()


def test_after_saving_and_loading_a_scene_everything_goes_on(a_scene, a_segmentation, an_editor, tmp_path):
    tumors = TumorEdit(a_segmentation, an_editor.GetSegmentEditorNode())
    first = tumors.place(ras(12, 15, 14), radius=9, lobulation=0.2, seed=4)
    tumors.grow(first, 1)
    lesion, saved = tumors.lesion(first), state(a_segmentation)
    assert a_scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    a_scene.Clear(0)
    assert a_scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    node = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", a_scene)[0]
    assert loaded(node, saved)
    again = TumorEdit(node, slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode", a_scene)[0])
    assert again.lesion(first) == lesion
    states = [state(node)]
    for edit in (lambda: again.move(first, (3, 3, 3)), lambda: again.remove(first)):
        edit()
        states.append(state(node))
    for expected in (states[1], states[0]):
        assert again.undo()
        assert state(node) == expected
    for expected in states[1:]:
        assert again.redo()
        assert state(node) == expected
    labels = readLabels(node, mapSegments(node).ids).array
    assert np.array_equal(labels, anatomy()), "removed: the organs are as they were before the first tumor"


def loaded(node, saved: dict[str, tuple]) -> bool:
    """Whether names, tags and voxels are those that were saved; a color is saved with few digits."""
    now = state(node)
    return {s: (v[0], v[2], v[3]) for s, v in now.items()} == {s: (v[0], v[2], v[3]) for s, v in saved.items()}


def test_a_seg_nrrd_keeps_the_parameters(a_scene, a_segmentation, tmp_path):
    segmentId = TumorEdit(a_segmentation).place(ras(12, 15, 14), radius=9)
    lesion = TumorEdit(a_segmentation).lesion(segmentId)
    storage = a_segmentation.CreateDefaultStorageNode()
    storage.SetFileName(str(tmp_path / "case.seg.nrrd"))
    assert storage.WriteData(a_segmentation)
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(node)
    again = TumorEdit(node)
    assert again.lesions() == {segmentId: lesion}
    again.grow(segmentId, 2)
    assert again.lesion(segmentId).radii == (11, 11, 11)


# ---- layers


def surfaces(node) -> dict[str, object]:
    return {s: node.GetClosedSurfaceInternalRepresentation(s) for s in node.GetSegmentation().GetSegmentIDs()}


def test_a_segment_gets_a_small_layer_and_nothing_else_changes(a_segmentation):
    a_segmentation.CreateClosedSurfaceRepresentation()
    before, drawn, liver = state(a_segmentation), surfaces(a_segmentation), ofLabel(a_segmentation, LIVER)
    voxels = SegmentVoxels(a_segmentation)
    voxels.separate(liver)
    assert state(a_segmentation) == before
    assert surfaces(a_segmentation) == drawn, "not made anew"
    image = a_segmentation.GetSegmentation().GetSegment(liver).GetRepresentation(LABELMAP)
    assert image.GetDimensions() == (22, 27, 22)
    assert voxels.sharing([liver]) == {liver}
    voxels.separate(liver)
    assert a_segmentation.GetSegmentation().GetNumberOfLayers(LABELMAP) == 2


def test_an_empty_segment_can_be_filled_again(a_segmentation):
    liver, box = ofLabel(a_segmentation, LIVER), tuple(slice(0, n) for n in anatomy().shape)
    voxels = SegmentVoxels(a_segmentation)
    voxels.erase(liver, anatomy() == LIVER, box)
    voxels.separate(liver)
    assert not masks(a_segmentation)[liver].any()
    voxels.fill(liver, anatomy() == LIVER, box)
    assert np.array_equal(masks(a_segmentation)[liver], anatomy() == LIVER)


@pytest.mark.parametrize("withEditor", [False, True])
def test_after_the_first_edit_the_large_layer_is_left_alone(a_segmentation, an_editor, withEditor):
    """A history copies what was written to since its last state, so this is what makes an edit cheap."""
    tumors = TumorEdit(a_segmentation, an_editor.GetSegmentEditorNode() if withEditor else None)
    first = tumors.place(ras(12, 15, 14), radius=9)
    large = a_segmentation.GetSegmentation().GetSegment(ofLabel(a_segmentation, SPLEEN)).GetRepresentation(LABELMAP)
    time, values = large.GetMTime(), imageArray(large).copy()
    tumors.grow(first, 1)
    tumors.move(first, (3, 3, 3))
    tumors.remove(first)
    assert large.GetMTime() == time
    assert np.array_equal(imageArray(large), values)


def test_the_editors_undo_takes_strokes_and_tumors_back_in_their_order(a_segmentation, an_editor):
    node, liver = a_segmentation, ofLabel(a_segmentation, LIVER)
    tumors = TumorEdit(node, an_editor.GetSegmentEditorNode(), an_editor.SaveStateForUndo)
    found = []
    acts = [
        lambda: paint(an_editor, liver, (24, 26)),
        lambda: found.append(tumors.place(ras(12, 15, 14), radius=9)),
        lambda: paint(an_editor, liver, (26, 29)),
        lambda: tumors.move(found[0], (6, 3, 2)),
        lambda: paint(an_editor, found[0], (12, 23)),
        lambda: tumors.grow(found[0], 1.5),
        lambda: tumors.remove(found[0]),
    ]
    states = [state(node)]
    for act in acts:
        act()
        states.append(state(node))
    assert len({str(s) for s in states}) == len(states)
    for expected in states[-2::-1]:
        an_editor.Undo()
        assert state(node) == expected
    assert not an_editor.CanUndo()
    for expected in states[1:]:
        an_editor.Redo()
        assert state(node) == expected


def paint(logic, segmentId: str, span: tuple[int, int]) -> None:
    """A stroke of the Segment Editor, along the first axis, on what it meets."""
    node = logic.GetSegmentationNode()
    logic.SetCurrentSegmentID(segmentId)
    logic.UpdateReferenceGeometryImage()
    logic.SaveStateForUndo()
    logic.ResetModifierLabelmapToDefault()
    logic.UpdateMaskLabelmap()
    imageArray(logic.GetModifierLabelmap())[slice(*span), 8:14, 9:15] = 1
    logic.GetModifierLabelmap().Modified()
    logic.ModifySegmentByLabelmap(node, segmentId, logic.GetModifierLabelmap(), logic.ModificationModeAdd, False, False)


@pytest.mark.parametrize("withEditor", [False, True])
@pytest.mark.parametrize("painted", [False, True])
def test_a_vessel_in_the_layer_of_its_organ_stays_apart_from_it(a_scene, withEditor, painted):
    """Label maps are imported so: the liver has no voxel where its vessel is, and must not get one by healing."""
    array = anatomy()
    array[10:13, 5:28, 13:16] = VESSEL
    node = addSegmentation(a_scene, LabelVolume(array, AFFINE), "Case")
    before = state(node)
    tumors = TumorEdit(node, editor(a_scene, node).GetSegmentEditorNode() if withEditor else None)
    segmentId = tumors.place(ras(15, 15, 14), radius=9)
    assert not (masks(node)[segmentId] & (array == VESSEL)).any()
    if painted:
        ball = masks(node)[segmentId]
        ball[10:13, 12:18, 13:16] = True
        SegmentVoxels(node).replace(segmentId, ball, tuple(slice(0, n) for n in array.shape))
    tumors.remove(segmentId)
    if painted and withEditor:  # the liver's layer is its own by now; in a label map the vessel is above it
        assert np.array_equal(readLabels(node, mapSegments(node).ids).array, array)
    else:
        assert state(node) == before


def test_an_imported_tumor_and_its_organ_come_back_from_any_act(a_scene, tmp_path):
    array = anatomy()
    array[8:14, 10:18, 9:16] = TUMOR
    node = addSegmentation(a_scene, LabelVolume(array, AFFINE), "Case")
    tumors, segmentId = TumorEdit(node, editor(a_scene, node).GetSegmentEditorNode()), ofLabel(node, TUMOR)
    states = [state(node)]
    for act in (lambda: tumors.move(segmentId, (5, 5, 0)), lambda: tumors.remove(segmentId)):
        act()
        states.append(state(node))
    for expected in (states[1], states[0]):
        assert tumors.undo()
        assert state(node) == expected
    tumors.redo()
    assert a_scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    a_scene.Clear(0)
    assert a_scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", a_scene)
    assert loaded(node, states[1])
    again = TumorEdit(node, editor(a_scene, node).GetSegmentEditorNode())
    again.remove(segmentId)
    assert loaded(node, states[2])
    assert again.undo()
    assert loaded(node, states[1])
