"""Views for two CTs: the layouts as Slicer's own layout logic makes them, and what each view shows."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.slicer_core import addVolume, slicer
from MAISISynthLib.CompareViews import SIDE_BY_SIDE, THREE_PLANES, CompareViews

USUAL = ("Red", "Yellow", "Green")


@pytest.fixture
def a_layout_logic(a_scene):
    """Slicer's own, which makes the view nodes of a layout."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(a_scene, True)
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(a_scene)
    yield logic
    logic.SetMRMLScene(None)


@pytest.fixture
def a_layout(a_scene, a_layout_logic):
    """The layout node with the usual three slice views, and what they show."""
    node = a_layout_logic.GetLayoutNode()
    node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    for name in USUAL:
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName(name)
        a_scene.AddNode(composite)
    return node


@pytest.fixture
def a_pair(a_scene):
    return [addVolume(np.zeros((4, 4, 4), np.int16), np.eye(4), name) for name in ("Before", "After")]


def sliceNodes(scene) -> dict[str, slicer.vtkMRMLSliceNode]:
    return {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene)}


def visibleViews(layoutLogic) -> dict[str, str]:
    """Name -> orientation of the slice views of the present layout."""
    nodes = layoutLogic.GetViewNodes()
    found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
    return {node.GetLayoutName(): node.GetOrientation() for node in found if node.IsA("vtkMRMLSliceNode")}


def composites(scene) -> dict[str, slicer.vtkMRMLSliceCompositeNode]:
    return {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", scene)}


def test_side_by_side_shows_both_in_linked_axial_views(a_scene, a_layout_logic, a_layout, a_pair):
    CompareViews(a_scene).showLayout(SIDE_BY_SIDE, *a_pair)
    views, shown = sliceNodes(a_scene), composites(a_scene)
    assert visibleViews(a_layout_logic) == {"MAISIBeforeAxial": "Axial", "MAISIAfterAxial": "Axial"}
    for name, volume in zip(("MAISIBeforeAxial", "MAISIAfterAxial"), a_pair, strict=True):
        assert views[name].GetViewGroup() == 88
        assert shown[name].GetBackgroundVolumeID() == volume.GetID()
        assert shown[name].GetLinkedControl()
    assert views["Red"].GetViewGroup() != 88, "the usual views are not linked with ours"


def test_three_planes_has_six_views(a_scene, a_layout_logic, a_layout, a_pair):
    CompareViews(a_scene).showLayout(THREE_PLANES, *a_pair)
    assert visibleViews(a_layout_logic) == {
        f"MAISI{side}{plane}": plane for side in ("Before", "After") for plane in ("Axial", "Sagittal", "Coronal")
    }


def test_usual_layout_comes_back_over_both_of_ours(a_scene, a_layout, a_pair):
    views = CompareViews(a_scene)
    views.restoreLayout()
    assert a_layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    views.showLayout(SIDE_BY_SIDE, *a_pair)
    views.showLayout(THREE_PLANES, *a_pair)
    views.restoreLayout()
    assert a_layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_a_layout_that_the_user_chose_meanwhile_stays(a_scene, a_layout, a_pair):
    views = CompareViews(a_scene)
    views.showLayout(SIDE_BY_SIDE, *a_pair)
    a_layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    views.restoreLayout()
    assert a_layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def test_another_pair_is_shown_in_our_layout_only_while_it_is_there(a_scene, a_layout, a_pair):
    views = CompareViews(a_scene)
    views.refresh(*a_pair)
    assert set(composites(a_scene)) == set(USUAL)
    views.showLayout(SIDE_BY_SIDE, *a_pair)
    views.refresh(*a_pair[::-1])
    assert composites(a_scene)["MAISIBeforeAxial"].GetBackgroundVolumeID() == a_pair[1].GetID()


def test_fade_and_difference_go_to_the_usual_views_only(a_scene, a_layout, a_pair):
    views = CompareViews(a_scene)
    views.showLayout(SIDE_BY_SIDE, *a_pair)
    views.fade(*a_pair, 0.25)
    red = composites(a_scene)["Red"]
    assert red.GetBackgroundVolumeID() == a_pair[0].GetID()
    assert (red.GetForegroundVolumeID(), red.GetForegroundOpacity()) == (a_pair[1].GetID(), 0.25)
    views.overlay(a_pair[1], a_pair[0])
    assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == (a_pair[1].GetID(), a_pair[0].GetID())
    assert composites(a_scene)["MAISIAfterAxial"].GetForegroundVolumeID() is None


@pytest.mark.parametrize(("attribute", "stays"), [("MAISI.Synthetic", False), ("MAISI.Difference", False), ("", True)])
def test_a_new_ct_takes_away_what_we_put_over_the_old_one_only(a_scene, a_layout, a_pair, attribute, stays):
    red, over = composites(a_scene)["Red"], addVolume(np.zeros((4, 4, 4), np.int16), np.eye(4), "Over")
    if attribute:
        over.SetAttribute(attribute, "1")
    red.SetForegroundVolumeID(over.GetID())
    assert CompareViews(a_scene).show(a_pair[1]), "the views were empty"
    assert red.GetBackgroundVolumeID() == a_pair[1].GetID()
    assert not CompareViews(a_scene).show(a_pair[0]), "now the user's view of it is kept"
    assert (red.GetForegroundVolumeID() == over.GetID()) == stays


def test_center_moves_every_slice_view(a_scene, a_layout):
    CompareViews(a_scene).center(np.array([3.0, -4.0, 25.0]))
    red = sliceNodes(a_scene)["Red"].GetSliceToRAS()
    assert [red.GetElement(axis, 3) for axis in range(3)] == [3, -4, 25]


def test_without_a_layout_nothing_fails(a_scene, a_pair):
    """In a script there are no views."""
    views = CompareViews(a_scene)
    views.refresh(*a_pair)
    views.restoreLayout()
    views.show(a_pair[0])
