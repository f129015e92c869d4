"""The mouse's way with tumors, and the outline that follows it: positions in RAS mm, no view needed."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from scipy.spatial.transform import Rotation

from helpers.slicer_core import slicer
from maisi.errors import InputError
from maisi.masks.lesion import Lesion
from maisi.volume import LabelVolume
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, readLabels
from MAISISynthLib.Sight import Sight
from MAISISynthLib.TumorEdit import TumorEdit
from MAISISynthLib.TumorPreview import TumorPreview, sliceOutline, surfacePolyData
from MAISISynthLib.TumorTool import TumorTool

LIVER, TUMOR, KIDNEY = 1, 26, 14


@pytest.fixture
def tumors(a_scene):
    """Liver and kidney in a box of 60 x 60 x 40 mm; RAS = voxel index."""
    array = np.zeros((60, 60, 40), np.uint8)
    array[5:38, 5:55, 4:36] = LIVER
    array[42:58, 5:55, 4:36] = KIDNEY
    return TumorEdit(addSegmentation(a_scene, LabelVolume(array, np.eye(4)), "Case"))


def mouse(x: float, y: float, z: float) -> tuple[Sight, tuple[float, float]]:
    """In an axial slice at ``z`` whose pixels are RAS mm."""
    toPixels = np.eye(4)
    toPixels[2, 3] = -z
    return Sight(toPixels, isSlice=True), (x, y)


def test_a_click_places_a_tumor_of_the_given_radius(tumors):
    tool = TumorTool(tumors, radius=7)
    tool.grab((20, 30, 20))
    assert tumors.lesions() == {}, "nothing is written while the button is down"
    segmentId = tool.release()
    assert tumors.lesion(segmentId).radii == (7, 7, 7)
    assert tumors.lesion(segmentId).label == TUMOR
    assert tool.release() is None


def test_dragging_draws_a_new_tumor_to_size(tumors):
    tool = TumorTool(tumors, radius=7)
    tool.grab((20, 30, 20))
    tool.drag(*mouse(21, 30, 20))
    assert tool.lesion.radii == (7, 7, 7), "a hand is never quite still"
    tool.drag(*mouse(24, 33, 20))
    assert tool.lesion.radii == pytest.approx((5, 5, 5))
    assert tumors.lesion(tool.release()).center == (20, 30, 20)


def test_dragging_moves_a_tumor_by_what_the_mouse_moved(tumors):
    segmentId = tumors.place((20, 30, 20), 6)
    tool = TumorTool(tumors)
    tool.grab((22, 31, 20))
    tool.drag(*mouse(29, 35, 18))
    assert tool.lesion.center == pytest.approx((27, 34, 18))
    assert tumors.lesion(segmentId).center == (20, 30, 20)
    assert tool.release() == segmentId
    assert tumors.lesion(segmentId).center == pytest.approx((27, 34, 18))
    assert tumors.undo()
    assert tumors.lesion(segmentId).center == (20, 30, 20)


def test_dragging_into_another_organ_makes_it_that_organs_tumor(tumors):
    segmentId = tumors.place((30, 30, 20), 5)
    tool = TumorTool(tumors)
    tool.grab((30, 30, 20))
    tool.drag(*mouse(50, 30, 20))
    tool.release()
    assert tumors.lesion(segmentId).label == 129


def test_a_click_on_a_tumor_alone_is_no_act(tumors):
    segmentId = tumors.place((20, 30, 20), 6)
    tool = TumorTool(tumors)
    tool.grab((20, 30, 20))
    assert tool.release() == segmentId
    assert tumors.undo(), "placing it"
    assert not tumors.undo()


def test_turns_of_the_wheel_are_one_act(tumors):
    segmentId = tumors.place((20, 30, 20), 6)
    tool = TumorTool(tumors)
    for _turn in range(4):
        tool.grow((20, 30, 20), 0.5)
    assert tool.lesion.radii == (8, 8, 8)
    tool.release()
    tumors.undo()
    assert tumors.lesion(segmentId).radii == (6, 6, 6)
    for _turn in range(40):
        tool.grow((20, 30, 20), -0.5)
    assert tool.lesion.radii == (1, 1, 1), "never to nothing"
    tool.cancel()
    tool.grow((10, 10, 10), 1)
    assert tool.lesion is None, "no tumor there"


def test_in_a_3d_view_the_organ_behind_the_surface_is_meant(tumors):
    tool = TumorTool(tumors, radius=4)
    tool.grab((4.4, 30, 20), direction=(5, 0, 0))
    assert 4.5 <= tool.lesion.center[0] <= 6.5
    tool.cancel()
    with pytest.raises(InputError, match="no organ"):
        tool.grab((4.4, 30, 20), direction=(-1, 0, 0))


def test_a_handle_stretches_its_axis_and_is_one_act(tumors):
    segmentId = tumors.place((20, 30, 20), 8)
    tool = TumorTool(tumors)
    assert not tool.grabHandle(segmentId, *mouse(22, 30, 20)), "inside the tumor"
    assert not tool.grabHandle(segmentId, *mouse(28, 30, 31)), "the slice misses it"
    assert tool.grabHandle(segmentId, *mouse(29, 31, 20))
    tool.drag(*mouse(30, 31, 20))
    assert tool.lesion.radii == (8, 8, 8), "a hand is never quite still"
    tool.drag(*mouse(33, 37, 20))
    assert tool.lesion.radii == pytest.approx((12, 8, 8)), "by what the mouse moved along the axis"
    assert tumors.lesion(segmentId).radii == (8, 8, 8), "nothing is written while the button is down"
    assert tool.release() == segmentId
    assert tumors.lesion(segmentId).radii == pytest.approx((12, 8, 8))
    assert tumors.lesion(segmentId).center == (20, 30, 20)
    assert tumors.undo()
    assert tumors.lesion(segmentId).radii == (8, 8, 8)
    assert tool.grabHandle(segmentId, *mouse(12, 30, 20))
    assert tool.release() == segmentId, "a click on a handle is no act"
    assert tumors.undo(), "placing it"
    with pytest.raises(InputError, match="not in the segmentation"):
        tool.grabHandle(segmentId, *mouse(12, 30, 20))


def test_what_does_not_fit_is_let_go(tumors):
    segmentId = tumors.place((20, 30, 20), 5)
    tool = TumorTool(tumors)
    tool.grab((20, 30, 20))
    tool.drag(*mouse(20, 300, 20))
    with pytest.raises(InputError, match="Nothing of"):
        tool.release()
    assert tool.lesion is None
    assert tumors.lesion(segmentId).center == (20, 30, 20)
    labels = readLabels(tumors._node, mapSegments(tumors._node).ids)
    assert (labels.array == TUMOR).any()


# ---- outlines

LESION = Lesion(TUMOR, (20, -30, 40), (12, 8, 10), lobulation=0.2, seed=3)


def test_the_surface_encloses_the_lesion():
    mass = vtk.vtkMassProperties()
    mass.SetInputData(surfacePolyData(LESION))
    assert mass.GetVolume() / 1000 == pytest.approx(LESION.volume_ml, rel=0.05)


def test_a_slice_shows_the_line_where_it_cuts_the_lesion():
    xyToRas = np.eye(4)
    xyToRas[:3, :3] = Rotation.from_euler("xyz", (20, 30, -10), degrees=True).as_matrix() * 0.5
    xyToRas[:3, 3] = LESION.center + xyToRas[:3, :3] @ (-100, -80, 0)
    line = sliceOutline(LESION, slicer.util.vtkMatrixFromArray(xyToRas))
    pixels = np.array([line.GetPoint(i) for i in range(line.GetNumberOfPoints())])
    assert np.abs(pixels[:, 2]).max() < 1e-6
    ras = pixels @ xyToRas[:3, :3].T + xyToRas[:3, 3]
    inward, outward = (LESION.center + factor * (ras - LESION.center) for factor in (0.93, 1.07))
    for points, inside in ((inward, True), (outward, False)):
        grids = [LabelVolume(np.zeros((1, 1, 1), np.uint8), translation(point)) for point in points]
        assert np.mean([LESION.rasterize(grid).item() is inside for grid in grids]) > 0.97
    xyToRas[:3, 3] += 100 * np.cross(xyToRas[:3, 0], xyToRas[:3, 1])
    assert sliceOutline(LESION, slicer.util.vtkMatrixFromArray(xyToRas)).GetNumberOfPoints() == 0


def translation(point: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 3] = point
    return affine


def test_one_outline_is_drawn_at_a_time():
    renderer, preview, sliceNode = vtk.vtkRenderer(), TumorPreview(), slicer.vtkMRMLSliceNode()
    for place in (sliceNode, None, sliceNode):
        preview.show(LESION, renderer, place)
        assert renderer.GetViewProps().GetNumberOfItems() == 1
        assert renderer.GetViewProps().GetLastProp().IsA("vtkActor2D" if place else "vtkActor")
    preview.hide()
    assert renderer.GetViewProps().GetNumberOfItems() == 0
