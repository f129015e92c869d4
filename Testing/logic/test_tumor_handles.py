"""Handles of a lesion in slice and 3D views, by geometry alone: where they are, which is hit, what a drag makes."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.slicer_core import slicer
from maisi.masks.lesion import Lesion
from MAISISynthLib.Sight import Sight, surfaceAt
from MAISISynthLib.TumorHandles import MAX_RADIUS, MIN_RADIUS, TumorHandles
from MAISISynthLib.TumorPreview import HandleDots, surfacePolyData

TUMOR = 26
SIZE = (400, 300)


def aSlice(turn: np.ndarray, center, mmPerPixel: float = 0.5) -> Sight:
    """An oblique slice through ``center``, which is at pixel (200, 150)."""
    xyToRas = np.eye(4)
    xyToRas[:3, :3] = turn * mmPerPixel
    xyToRas[:3, 3] = center - xyToRas[:3, :3] @ (200, 150, 0)
    node = slicer.vtkMRMLSliceNode()
    node.GetXYToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(xyToRas))
    return Sight.ofSlice(node)


def aRenderer(turn: np.ndarray, center, parallel: bool = False) -> tuple[vtk.vtkRenderer, vtk.vtkRenderWindow]:
    """A 3D view of ``center``; its window must be kept."""
    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    window.OffScreenRenderingOn()
    window.SetSize(*SIZE)
    window.AddRenderer(renderer)
    camera = renderer.GetActiveCamera()
    camera.SetParallelProjection(parallel)
    camera.SetFocalPoint(*center)
    camera.SetPosition(*(center + 300 * turn[:, 2]))
    camera.SetViewUp(*turn[:, 1])
    camera.SetParallelScale(60)
    camera.SetClippingRange(100, 600)
    return renderer, window


turns = st.integers(0, 2**31).map(lambda seed: Rotation.random(rng=np.random.default_rng(seed)).as_matrix())
lesions = st.builds(
    lambda turn, radii, center: Lesion(TUMOR, center, radii, turn),
    turns,
    st.tuples(*[st.floats(8, 30)] * 3),
    st.tuples(*[st.floats(-100, 100)] * 3),
)


def test_pixels_of_a_camera_are_those_of_vtk():
    renderer, _window = aRenderer(Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix(), np.ones(3))
    place = np.array([20.0, -10, 30])
    renderer.SetWorldPoint(*place, 1)
    renderer.WorldToDisplay()
    sight = Sight.ofCamera(renderer)
    assert sight.pixels(place)[:2] == pytest.approx(renderer.GetDisplayPoint()[:2], abs=1e-6)
    x, y, _depth = sight.pixels(place)
    assert sight.under((x, y), place) == pytest.approx(place, abs=1e-6)
    moved = sight.under((x + 10, y), place)
    depths = [renderer.GetActiveCamera().GetDirectionOfProjection() @ p for p in (place, moved)]
    assert depths[0] == pytest.approx(depths[1], abs=1e-6), "the mouse stays at the depth of what it holds"


@settings(max_examples=40, deadline=None)
@given(lesion=lesions, turn=turns, view=st.sampled_from(["slice", "camera", "parallel"]), data=st.data())
def test_an_end_that_is_dragged_is_under_the_mouse_and_nothing_else_changes(lesion, turn, view, data):
    center = np.array(lesion.center)
    if view == "slice":
        sight = aSlice(turn, center)
    else:
        renderer, _window = aRenderer(turn, center, parallel=view == "parallel")
        sight = Sight.ofCamera(renderer)
    handles = TumorHandles(lesion, sight)
    assert len(handles.all) in (4, 6), "at most one axis is seen end-on"
    handle = data.draw(st.sampled_from(handles.all))
    longer = center + (handle.position - center) * data.draw(st.floats(0.3, 2.5))
    stretched = handles.stretched(handle, sight.pixels(longer)[:2])
    moved = next(h for h in TumorHandles(stretched, sight).all if (h.axis, h.side) == (handle.axis, handle.side))
    assert moved.position == pytest.approx(longer, abs=1e-4)
    same = [axis for axis in range(3) if axis != handle.axis]
    assert [stretched.radii[axis] for axis in same] == [lesion.radii[axis] for axis in same]
    assert (stretched.center, stretched.rotation) == (lesion.center, lesion.rotation)


def test_a_radius_has_limits():
    lesion = Lesion(TUMOR, (0, 0, 0), (10, 10, 10))
    handles = TumorHandles(lesion, aSlice(np.eye(3), np.zeros(3)))
    handle = handles.at((220, 150))
    assert (handle.axis, handle.side) == (0, 1)
    assert handles.stretched(handle, (150, 150)).radii[0] == MIN_RADIUS, "beyond the center"
    assert handles.stretched(handle, (5000, 150)).radii[0] == MAX_RADIUS


def test_a_slice_shows_the_axes_that_lie_in_it():
    lesion = Lesion(TUMOR, (0, 0, 0), (10, 15, 8))
    handles = TumorHandles(lesion, aSlice(np.eye(3), np.zeros(3))).all
    assert {(h.axis, h.side) for h in handles} == {(0, 1), (0, -1), (1, 1), (1, -1)}
    pixels = sorted(tuple(h.pixel.round(6).tolist()) for h in handles)
    assert pixels == [(180, 150), (200, 120), (200, 180), (220, 150)]
    assert len(TumorHandles(lesion, aSlice(np.eye(3), np.array([0, 0, 7.9]))).all) == 4
    assert TumorHandles(lesion, aSlice(np.eye(3), np.array([0, 0, 8.1]))).all == []


def test_near_the_middle_of_a_small_lesion_the_lesion_is_meant():
    handles = TumorHandles(Lesion(TUMOR, (0, 0, 0), (3, 3, 3)), aSlice(np.eye(3), np.zeros(3)))
    assert handles.at((202, 150)) is None
    assert handles.at((207, 150)).axis == 0
    assert handles.at((213, 150)).axis == 0
    assert handles.at((216, 150)) is None


def test_dots_are_drawn_where_the_handles_are_also_after_the_3d_view_turned():
    lesion = Lesion(TUMOR, (5, 5, 5), (20, 15, 10))
    renderer, window = aRenderer(np.eye(3), np.array(lesion.center))
    dots = HandleDots()
    assert dots.show(lesion, renderer, Sight.ofCamera(renderer))
    assert not dots.show(lesion, renderer, Sight.ofCamera(renderer)), "nothing new to draw"
    renderer.GetActiveCamera().Azimuth(10)
    for handle in TumorHandles(lesion, Sight.ofCamera(renderer)).all[:4]:
        assert brightest(window, handle.pixel) > 200
    other, _otherWindow = aRenderer(np.eye(3), np.array(lesion.center))
    assert dots.show(lesion, other, aSlice(np.eye(3), np.array(lesion.center)))
    assert renderer.GetViewProps().GetNumberOfItems() == 0
    assert dots.hide()
    assert not dots.hide()


def brightest(window: vtk.vtkRenderWindow, pixel: np.ndarray) -> int:
    """The largest red value within three pixels."""
    window.Render()
    x, y = pixel.round().astype(int).tolist()
    colors = vtk.vtkUnsignedCharArray()
    window.GetPixelData(x - 3, y - 3, x + 3, y + 3, 1, colors, 0)
    return max(colors.GetComponent(i, 0) for i in range(colors.GetNumberOfTuples()))


def test_a_surface_is_picked_where_it_is_seen():
    lesion = Lesion(TUMOR, (5, 5, 5), (20, 20, 20), lobulation=0.0)
    renderer, window = aRenderer(np.eye(3), np.array(lesion.center))
    mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
    mapper.SetInputData(surfacePolyData(lesion))
    actor.SetMapper(mapper)
    renderer.AddActor(actor)
    window.Render()
    assert surfaceAt(renderer, (200, 150)) == pytest.approx((5, 5, 25), abs=0.5)
    assert surfaceAt(renderer, (5, 5)) is None
