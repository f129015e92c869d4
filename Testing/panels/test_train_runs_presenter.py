"""What the section "Runs" of MAISITrain would show, without a panel."""

from __future__ import annotations

import pytest

from helpers.processes import waitUntil
from helpers.slicer_core import slicer
from helpers.train_panel import saying
from helpers.watched_runs import addPreview, addRows, aRun
from maisi.train.run_folder import Status
from MAISITrainLib.RunsPresenter import RunsPresenter
from MAISITrainLib.RunWatcher import RunWatcher
from MAISITrainLib.TrainChoices import TrainChoices


@pytest.fixture
def make_runs_presenter(a_scene, a_panel):
    def make() -> RunsPresenter:
        presenter = RunsPresenter(
            a_panel.view,
            a_panel.logic,
            a_panel.settings,
            a_scene,
            lambda path: RunWatcher(path, lookSeconds=0),
        )
        presenter.update()
        return presenter

    return make


def look(presenter: RunsPresenter) -> None:
    """Until all trainings were looked at."""
    for watcher in presenter._watchers:
        watcher.look()
    presenter.redraw()


def plotted() -> list[float]:
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode", slicer.mrmlScene)
    table = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    return [table.GetValueByName(row, "raw").ToDouble() for row in range(table.GetNumberOfRows())]


def test_trainings_are_found_again_and_the_newest_is_followed(make_runs_presenter, a_panel, tmp_path):
    """As after the application was closed and opened."""
    run = aRun(tmp_path / "one", step=2, steps=9)
    addRows(run, 3, 2)
    a_panel.settings.addRun(aRun(tmp_path / "old", state="stopped").path)
    a_panel.settings.addRun(run.path)
    presenter = make_runs_presenter()
    assert [row[:3] for row in a_panel.view.state.rows] == [("one", "", "looking"), ("old", "", "looking")]
    waitUntil(lambda: (presenter.poll(), a_panel.view.state.line)[1])
    assert a_panel.view.state.line == "Step 2/9, epoch 0.0"
    assert plotted() == [3, 2]
    addRows(run, 1, first=3)
    waitUntil(lambda: (presenter.poll(), plotted() == [3, 2, 1])[1])
    assert presenter.busy


def test_another_training_is_chosen(make_runs_presenter, a_panel, tmp_path):
    addRows(aRun(tmp_path / "one"), 3, 2)
    addRows(aRun(tmp_path / "two", state="stopped"), 7)
    for name in ("one", "two"):
        a_panel.settings.addRun(tmp_path / name)
    presenter = make_runs_presenter()
    look(presenter)
    state = a_panel.view.state
    assert (state.selected, plotted()) == (0, [7])
    assert (state.stopEnabled, state.resumeEnabled) == (False, True)
    presenter.select(1)
    assert a_panel.view.followed == [str(tmp_path / "one")]
    presenter.setChoices(TrainChoices(run=str(tmp_path / "one")))
    state = a_panel.view.state
    assert (state.selected, plotted()) == (1, [3, 2])
    assert (state.stopEnabled, state.resumeEnabled) == (True, False)
    presenter.select(5)
    assert len(a_panel.view.followed) == 1


def test_a_training_of_somebody_else_is_added(make_runs_presenter, a_panel, tmp_path):
    presenter = make_runs_presenter()
    for path in ("", str(tmp_path)):
        presenter.add(path)
        assert a_panel.view.state.message == "There is no training in that folder."
    for name in ("one", "two"):
        aRun(tmp_path / "share" / name)
    presenter.add(str(tmp_path / "share"))
    assert {row[0] for row in a_panel.view.state.rows} == {"one", "two"}
    assert a_panel.view.followed == [a_panel.settings.runs[0]]
    presenter.forget()
    assert len(a_panel.view.state.rows) == 1
    assert (tmp_path / "share" / "one").exists()
    assert "is no longer watched" in a_panel.view.state.message


def test_a_folder_that_is_gone_is_told(make_runs_presenter, a_panel, tmp_path):
    a_panel.settings.addRun(tmp_path / "gone")
    presenter = make_runs_presenter()
    waitUntil(lambda: (presenter.poll(), a_panel.view.state.rows[0][2] == "not found")[1])
    assert not a_panel.view.state.stopEnabled


def test_stop_resume_and_their_answers(make_runs_presenter, a_panel, tmp_path):
    run = aRun(tmp_path / "one")
    a_panel.settings.addRun(run.path)
    presenter = make_runs_presenter()
    look(presenter)
    a_panel.logic.answers = [
        saying("It will write a checkpoint and stop.", seconds=0.2),
        saying(error="maisi: No.", code=2),
    ]
    presenter.stop()
    assert (a_panel.view.state.busy, a_panel.view.state.stopEnabled) == (True, False)
    presenter.resume()
    waitUntil(lambda: (presenter.poll(), not a_panel.view.state.busy)[1])
    assert a_panel.view.state.message == "It will write a checkpoint and stop."
    run.write_status(Status("stopped"))
    look(presenter)
    presenter.resume()
    waitUntil(lambda: (presenter.poll(), not a_panel.view.state.busy)[1])
    assert a_panel.view.state.message == "No."
    assert a_panel.logic.asked == [("stopCommand", str(run.path)), ("resumeCommand", str(run.path))]


def test_a_training_that_does_not_stop_can_be_ended(make_runs_presenter, a_panel, tmp_path):
    run = aRun(tmp_path / "one")
    run.request_stop()
    a_panel.settings.addRun(run.path)
    presenter = make_runs_presenter()
    look(presenter)
    a_panel.view.agrees = False
    presenter.stop()
    assert a_panel.view.questions == ["'one' was asked to stop and has not yet. End it without another checkpoint?"]
    assert a_panel.logic.asked == []
    a_panel.view.agrees, a_panel.logic.answers = True, [saying("It ends within two minutes.")]
    presenter.stop()
    assert a_panel.logic.asked == [("stopCommand", str(run.path), {"now": True})]
    waitUntil(lambda: (presenter.poll(), not a_panel.view.state.busy)[1])


def test_a_model_is_made_and_chosen(make_runs_presenter, a_panel, tmp_path):
    a_panel.settings.addRun(aRun(tmp_path / "one").path)
    presenter = make_runs_presenter()
    look(presenter)
    presenter.use(" ")
    assert a_panel.view.state.message == "Give the model a name."
    a_panel.logic.answers = [saying("The model mine is ready"), saying(error="maisi: no weights", code=2)]
    for opened in (1, 1):
        presenter.use("mine ")
        waitUntil(lambda: (presenter.poll(), not a_panel.view.state.busy)[1])
        assert (a_panel.logic.used, a_panel.view.opened) == (["mine"], opened)
    assert a_panel.logic.asked[0] == ("exportCommand", [str(tmp_path / "one")], "mine")
    assert a_panel.view.state.message == "no weights"


def test_previews_come_into_the_scene_where_that_is_wished(make_runs_presenter, a_panel, tmp_path):
    run = aRun(tmp_path / "one")
    addPreview(run, 1, 5)
    a_panel.settings.addRun(run.path)
    presenter = make_runs_presenter()
    look(presenter)
    assert a_panel.view.shown == []
    presenter.setChoices(TrainChoices(previews=True))
    assert a_panel.view.shown == [["one sample, step 1"]]
    addPreview(run, 2, 6)
    look(presenter)
    assert len(a_panel.view.shown) == 1, "the same volume, with other voxels: the views stay"
    (node,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", slicer.mrmlScene)
    assert node.GetName() == "one sample, step 2"
    presenter.setChoices(TrainChoices())
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", slicer.mrmlScene) == []


def test_a_figure_is_chosen(make_runs_presenter, a_panel, tmp_path):
    run = aRun(tmp_path / "one")
    addRows(run, 1, 2)
    addRows(run, 5, 6, name="gradient_norm")
    a_panel.settings.addRun(run.path)
    presenter = make_runs_presenter()
    look(presenter)
    assert a_panel.view.state.figures == ("loss", "gradient_norm")
    presenter.setChoices(TrainChoices(figure="gradient_norm", smoothing=0, logScale=True))
    assert plotted() == [5, 6]
    assert presenter.chart.GetYAxisLogScale()
    slicer.mrmlScene.Clear(0)
    presenter.redraw()
    assert plotted() == [5, 6]
