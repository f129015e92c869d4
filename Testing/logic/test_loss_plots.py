"""Curves of a training in real plot nodes, and its previews as real volumes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
import slicer
import vtk
from hypothesis import given
from hypothesis import strategies as st
from vtk.util.numpy_support import vtk_to_numpy

from helpers.watched_runs import addPreview, aRun
from MAISISynthLib.SceneIO import SYNTHETIC
from MAISITrainLib.LossCurves import POINTS, curvesOf, figureNames, smoothed
from MAISITrainLib.LossPlots import LossPlots
from MAISITrainLib.PreviewVolumes import PreviewVolumes, newestPreviews

ROWS = [{"split": "train", "step": step, "loss": 1 / step, "error": 5.0} for step in range(1, 11)]
HELD_OUT = [{"split": "validation", "step": step, "score": step / 10} for step in (5, 10)]


def drawn(chart) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Title of each series -> what a plot view draws of it."""
    found = {}
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(number)
        table = series.GetTableNode().GetTable()
        columns = (series.GetXColumnName(), series.GetYColumnName())
        found[series.GetName()] = tuple(vtk_to_numpy(table.GetColumnByName(name)) for name in columns)
    return found


def test_curves_hold_the_numbers_of_the_training(a_scene):
    plots = LossPlots(a_scene)
    plots.show("my run", ROWS + HELD_OUT, "loss", smoothing=0.5)
    found = drawn(plots.chart)
    assert list(found) == ["loss", "loss, smoothed", "validation score"]
    assert found["loss"][0].tolist() == list(range(1, 11))
    np.testing.assert_allclose(found["loss"][1], [1 / step for step in range(1, 11)])
    assert found["loss, smoothed"][1][:2] == pytest.approx([1, (0.5 * 0.5 * 1 + 0.5 * 0.5) / 0.75])
    assert [values.tolist() for values in found["validation score"]] == [[5, 10], [0.5, 1]]
    chart = plots.chart
    assert (chart.GetTitle(), chart.GetYAxisTitle(), chart.GetYAxisLogScale()) == ("my run", "loss", False)


def test_drawing_again_adds_nothing_to_the_scene(a_scene):
    plots = LossPlots(a_scene)
    plots.show("one", ROWS + HELD_OUT, "loss")
    count = a_scene.GetNumberOfNodes()
    plots.show("two", ROWS[:5], "error", logScale=True)
    LossPlots(a_scene).show("two", ROWS[:5], "error", logScale=True)
    assert a_scene.GetNumberOfNodes() == count
    assert list(drawn(plots.chart)) == ["error", "error, smoothed"], "nothing was validated"
    assert plots.chart.GetYAxisLogScale()


def test_curves_come_back_after_the_scene_was_closed_and_are_not_saved(a_scene):
    plots = LossPlots(a_scene)
    plots.show("one", ROWS, "loss")
    names = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")
    nodes = [node for name in names for node in slicer.util.getNodesByClass(name, a_scene)]
    assert len(nodes) == 6
    assert not any(node.GetSaveWithScene() for node in nodes)
    a_scene.Clear(0)
    plots.show("one", ROWS, "loss")
    assert drawn(plots.chart)["loss"][1][-1] == pytest.approx(0.1)


def test_a_logarithmic_scale_leaves_out_what_it_cannot_show(a_scene):
    plots = LossPlots(a_scene)
    rows = [{"split": "train", "step": n, "loss": value} for n, value in enumerate((1.0, 0.0, -1.0, float("nan"), 2.0))]
    plots.show("one", rows, "loss", smoothing=0, logScale=True)
    np.testing.assert_array_equal(drawn(plots.chart)["loss"][1], [1, np.nan, np.nan, np.nan, 2])


def test_a_figure_is_compared_with_its_own_on_held_out_data(a_scene):
    rows = [*ROWS, {"split": "validation", "step": 3, "score": 1.0, "error": 7.0}]
    assert figureNames(rows) == ["loss", "error"]
    curves = curvesOf(rows, "error", 0.9)
    assert (curves.validationName, curves.validation.tolist()) == ("error", [7])


def test_long_trainings_are_thinned_but_end_where_they_end():
    rows = [{"split": "train", "step": step, "loss": float(step)} for step in range(3 * POINTS + 1)]
    curves = curvesOf(rows, "loss", 0)
    assert len(curves.steps) <= POINTS
    assert curves.raw[-1] == curves.steps[-1] == 3 * POINTS


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(0, 0.99))
def test_smoothing_stays_between_the_values(values, smoothing):
    average = smoothed(np.array(values), smoothing)
    assert average[0] == pytest.approx(values[0])
    for number, value in enumerate(average, 1):
        assert min(values[:number]) - 1e-6 <= value <= max(values[:number]) + 1e-6


def test_a_value_that_is_not_finite_does_not_spoil_the_rest():
    np.testing.assert_allclose(smoothed(np.array([np.nan, 2, np.inf, 2]), 0.5), [np.nan, 2, 2, 2])


# ---- previews


def test_the_newest_previews_come_and_replace_the_older(a_scene, tmp_path):
    run, previews = aRun(tmp_path), PreviewVolumes(a_scene)
    addPreview(run, 100, -500)
    (node,) = previews.show("one", run.previews_of())
    assert node.GetName() == "one sample, step 100"
    assert node.GetAttribute(SYNTHETIC)
    assert node.GetDisplayNode().GetLevel() == 40
    affine = slicer.util.arrayFromVTKMatrix(_matrix(node))
    np.testing.assert_allclose(affine @ [1, 1, 1, 1], [8, -17, 34, 1])
    node.GetDisplayNode().SetWindowLevel(1500, -600)  # the user's choice
    addPreview(run, 200, 300)
    assert previews.show("one", run.previews_of()) == [node]
    assert node.GetName() == "one sample, step 200"
    assert (slicer.util.arrayFromVolume(node) == 300).all()
    assert node.GetDisplayNode().GetLevel() == -600
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", a_scene)) == 1


def test_previews_of_another_training_leave(a_scene, tmp_path):
    first, second, previews = aRun(tmp_path / "a"), aRun(tmp_path / "b"), PreviewVolumes(a_scene)
    addPreview(first, 1, 10, "original")
    addPreview(first, 1, 20, "reconstruction")
    original, _reconstruction = previews.show("a", first.previews_of())
    assert original.GetAttribute(SYNTHETIC) is None, "a patient's"
    addPreview(second, 5, 30, "reconstruction")
    (node,) = previews.show("b", second.previews_of())
    assert (node.GetName(), original.GetScene()) == ("b reconstruction, step 5", None)
    previews.clear()
    assert previews.nodes() == []


def test_a_preview_that_cannot_be_read_leaves_what_is_there(a_scene, tmp_path):
    run, previews = aRun(tmp_path), PreviewVolumes(a_scene)
    addPreview(run, 1, 10)
    (node,) = previews.show("a", run.previews_of())
    gone = run.previews / "step_00000002_sample.nii.gz"
    assert previews.show("a", [gone]) == [node]
    assert node.GetName() == "a sample, step 1"
    assert newestPreviews([gone.with_name("notes.txt")]) == {}


def _matrix(node) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
