"""What MAISITrain's sections would show, without a panel; the commands are real processes, what they run is not."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
import slicer

from helpers.processes import waitUntil
from helpers.watched_runs import addPreview, addRows, aRun
from maisi.train.run_folder import Status
from MAISILib.Interpreter import Interpreter
from MAISILib.MaisiCommand import MaisiCommand
from MAISILib.Settings import Settings
from MAISITrainLib.DataPresenter import DataPresenter
from MAISITrainLib.RunsPresenter import RunsPresenter
from MAISITrainLib.RunWatcher import RunWatcher
from MAISITrainLib.StartPresenter import StartPresenter
from MAISITrainLib.TrainChoices import TrainChoices
from MAISITrainLib.TrainSettings import TrainSettings

SAYING = """
import sys, time
time.sleep({seconds})
print({output!r})
print({error!r}, file=sys.stderr)
sys.exit({code})
"""


def saying(output: str = "", error: str = "", code: int = 0, seconds: float = 0) -> MaisiCommand:
    """A command that prints this and ends so."""
    interpreter = Interpreter()
    text = SAYING.format(output=output, error=error, code=code, seconds=seconds)
    return MaisiCommand(interpreter, interpreter.command, "-c", text)


class FakeLogic:
    """Answers with the next of ``answers``, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.answers: list[MaisiCommand] = []
        self.used: list[str] = []

    def __getattr__(self, name: str):
        if not name.endswith("Command"):
            raise AttributeError(name)
        return partial(self._answer, name)

    def _answer(self, name: str, *arguments, **options) -> MaisiCommand:
        self.asked.append((name, *arguments, *([options] if options else [])))
        return self.answers.pop(0)

    def useInSynthesis(self, name: str) -> None:
        self.used.append(name)


class FakeView:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.started, self.followed, self.shown, self.opened = [], [], [], 0

    def showData(self, state) -> None:
        self.state = state

    showStart = showRuns = showData

    def showForm(self, rows) -> None:
        self.rows = {row.field.key: row.text for row in rows}

    def runStarted(self, path: str) -> None:
        self.started.append(path)

    def follow(self, path: str) -> None:
        self.followed.append(path)

    def showPreviews(self, nodes) -> None:
        self.shown.append([node.GetName() for node in nodes])

    def openSynthesis(self) -> None:
        self.opened += 1


@pytest.fixture
def a_panel(monkeypatch, tmp_path) -> SimpleNamespace:
    """What a presenter needs, with settings that last as long as the test."""
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    return SimpleNamespace(view=FakeView(), logic=FakeLogic(), settings=TrainSettings(), machine=Settings(), asked=[])


def toTheEnd(presenter) -> None:
    waitUntil(lambda: (presenter.poll(), not presenter.busy)[1])


# ---- data


@pytest.fixture
def a_data_presenter(a_panel) -> DataPresenter:
    presenter = DataPresenter(
        a_panel.view, a_panel.logic, a_panel.settings, a_panel.machine, lambda: a_panel.asked.append(True)
    )
    presenter.update()
    return presenter


def choosePaths(presenter: DataPresenter, folder: Path) -> None:
    presenter.setText("Dataset", "list.json")
    presenter.setText("Prepared", str(folder))


def writeReport(folder: Path) -> None:
    finding = {"level": "dropped", "kind": "slices", "text": "It has 10 slices."}
    note = {"level": "note", "kind": "organs", "text": "It has no organs beside its lesions."}
    cases = [{"id": "b", "used": True, "findings": [note]}, {"id": "a", "used": False, "findings": [finding]}]
    (folder / "report.json").write_text(json.dumps({"cases": cases, "summary": {"cases": 3, "used": 2}}))


def test_a_data_set_is_checked_and_what_was_found_is_shown(a_data_presenter, a_panel, tmp_path):
    choosePaths(a_data_presenter, tmp_path)
    a_data_presenter.setText("PrepareOptions", '--min-slices 48 --new-label "one two=133:kidney"')
    a_panel.logic.answers = [saying("a table")]
    a_data_presenter.check()
    assert a_panel.view.state.busy
    assert a_panel.asked == [True], "packages"
    words = ["--min-slices", "48", "--new-label", "one two=133:kidney"]
    assert a_panel.logic.asked == [("prepareCommand", "list.json", str(tmp_path), words, {"check": True})]
    writeReport(tmp_path)
    toTheEnd(a_data_presenter)
    state = a_panel.view.state
    assert state.rows == (
        ("a", "no", "too few slices", "It has 10 slices."),
        ("b", "yes", "organs", "It has no organs beside its lesions."),
    )
    assert (state.message, state.busy) == ("2 of 3 cases can be used.", False)


def test_a_data_set_is_prepared_with_latents_of_a_model(a_data_presenter, a_panel, tmp_path):
    choosePaths(a_data_presenter, tmp_path)
    assert ("embedded", "Embedded CT model, version 0") in a_panel.view.state.encoders
    a_data_presenter.setText("Encoder", "embedded")
    a_panel.logic.answers = [saying("prepared has 2 images")]
    writeReport(tmp_path)
    a_data_presenter.prepare()
    assert a_panel.logic.asked[0][3] == ["--model=embedded"]
    toTheEnd(a_data_presenter)
    assert a_panel.view.state.message == "prepared has 2 images"


def test_what_cannot_be_prepared_is_told(a_data_presenter, a_panel, tmp_path):
    a_data_presenter.check()
    assert a_panel.view.state.message == "Choose the data set, and a folder for the prepared one."
    choosePaths(a_data_presenter, tmp_path)
    a_data_presenter.setText("PrepareOptions", '"')
    a_data_presenter.check()
    assert "quotation mark" in a_panel.view.state.message
    a_data_presenter.setText("PrepareOptions", "")
    a_panel.logic.answers = [saying(error="maisi: There is no folder list.json.", code=2), saying()]
    a_data_presenter.check()
    toTheEnd(a_data_presenter)
    assert a_panel.view.state.message == "There is no folder list.json."
    a_data_presenter.check()
    toTheEnd(a_data_presenter)
    assert "report.json cannot be read" in a_panel.view.state.message


def test_preparing_can_be_stopped_and_ends_with_the_panel(a_data_presenter, a_panel, tmp_path):
    choosePaths(a_data_presenter, tmp_path)
    first, second = saying(seconds=600), saying(seconds=600)
    a_panel.logic.answers = [first, second]
    a_data_presenter.prepare()
    a_data_presenter.check()
    assert len(a_panel.logic.asked) == 1, "one after the other"
    a_data_presenter.cancel()
    assert (first.done, a_panel.view.state.busy) == (True, False)
    a_data_presenter.prepare()
    a_data_presenter.close()
    assert second.done


# ---- start

SCHEMA = {
    "properties": {
        "stage": {"const": "diffusion", "type": "string"},
        "run": {
            "properties": {
                "seed": {"type": "integer", "minimum": 0, "default": 0, "description": "The seed"},
                "precision": {"enum": ["float32", "float16"], "type": "string", "default": "float32"},
            }
        },
        "data": {"properties": {"prepared": {"type": "string"}}},
        "diffusion": {"properties": {"loss": {"type": "string", "default": "squared"}}},
    }
}
VALUES = {
    "stage": "diffusion",
    "run": {"seed": 3, "precision": "float32"},
    "data": {"prepared": "."},
    "diffusion": {"loss": "squared"},
}
PRESET = "diffusion-stage1"


@pytest.fixture
def a_start_presenter(a_panel) -> StartPresenter:
    a_panel.settings.setText("Prepared", "prepared")
    presenter = StartPresenter(
        a_panel.view, a_panel.logic, a_panel.settings, a_panel.machine, lambda: a_panel.asked.append(True)
    )
    presenter.update()
    return presenter


def loadForm(presenter: StartPresenter, panel: SimpleNamespace) -> None:
    panel.logic.answers = [saying(json.dumps(VALUES, indent=1)), saying(json.dumps(SCHEMA))]
    presenter.choosePreset(PRESET)
    toTheEnd(presenter)
    panel.logic.asked.clear()


def test_nothing_starts_by_itself(a_start_presenter, a_data_presenter, a_panel):
    assert not a_start_presenter.busy
    assert a_panel.asked == a_panel.logic.asked == []


def test_a_preset_becomes_a_form(a_start_presenter, a_panel):
    assert {PRESET, "controlnet"} <= set(a_panel.view.state.presets)
    assert a_panel.view.state.title == "Choose what to train."
    a_panel.logic.answers = [saying(json.dumps(VALUES)), saying(json.dumps(SCHEMA))]
    a_start_presenter.choosePreset(PRESET)
    assert (a_panel.view.state.message, a_panel.view.state.startEnabled) == ("Loading the form", False)
    toTheEnd(a_start_presenter)
    assert a_panel.logic.asked == [("showCommand", PRESET, {"data.prepared": "."}), ("schemaCommand", "diffusion")]
    state = a_panel.view.state
    assert (state.sections, state.section, state.startEnabled) == (("diffusion", "run"), "diffusion", True)
    assert state.title.startswith("Diffusion, stage 1")
    assert a_panel.view.rows == {"diffusion.loss": "squared"}
    a_start_presenter.chooseSection("run")
    assert a_panel.view.rows == {"run.seed": "3", "run.precision": "float32"}
    a_panel.logic.answers = [saying(json.dumps(VALUES))]
    a_start_presenter.choosePreset(PRESET)
    toTheEnd(a_start_presenter)
    assert len(a_panel.logic.asked) == 3, "the schema is known"


def test_what_is_typed_is_checked_by_the_form_and_then_by_the_program(a_start_presenter, a_panel):
    loadForm(a_start_presenter, a_panel)
    a_start_presenter.setText("run.seed", "-1")
    assert a_panel.view.state.message == "run.seed must be at least 0, not -1."
    assert a_panel.logic.asked == []
    sentence = "run.precision cannot be 'float16' (there is no GPU)."
    a_panel.logic.answers = [saying(error=f"maisi: {PRESET}: {sentence}", code=2)]
    a_start_presenter.setText("run.seed", "5")
    assert a_panel.logic.asked == [("showCommand", PRESET, {"data.prepared": ".", "run.seed": 5})]
    toTheEnd(a_start_presenter)
    assert a_panel.view.state.message == sentence


def test_what_is_typed_during_a_check_is_checked_afterwards(a_start_presenter, a_panel):
    loadForm(a_start_presenter, a_panel)
    a_panel.logic.answers = [saying(seconds=0.2), saying()]
    a_start_presenter.setText("run.seed", "5")
    a_start_presenter.setText("run.seed", "6")
    assert len(a_panel.logic.asked) == 1
    toTheEnd(a_start_presenter)
    assert a_panel.logic.asked[1][2]["run.seed"] == 6
    assert a_panel.view.state.message == ""


def test_a_training_is_started_with_what_differs(a_start_presenter, a_panel, tmp_path):
    loadForm(a_start_presenter, a_panel)
    a_panel.logic.answers = [saying(), saying("Process 7 trains in run")]
    a_start_presenter.setText("run.seed", "5")
    a_start_presenter.setLauncher("slurm")
    a_start_presenter.setSlurm(partition="gpu", gpus=4)
    a_start_presenter.start("run", 4)
    name, preset, folder, changes, processes, launcher, slurm = a_panel.logic.asked[-1]
    assert (name, preset, folder, processes, launcher) == ("startCommand", PRESET, "run", 4, "slurm")
    assert changes == {"run.seed": 5, "data.prepared": "prepared"}
    assert (slurm.partition, slurm.gpus) == ("gpu", 4)
    assert not a_panel.view.state.startEnabled
    toTheEnd(a_start_presenter)
    assert a_panel.view.started == ["run"]
    assert (a_panel.view.state.message, a_panel.view.state.startEnabled) == ("Process 7 trains in run", True)


def test_what_cannot_be_started_is_told(a_start_presenter, a_panel):
    loadForm(a_start_presenter, a_panel)
    a_start_presenter.start("", 1)
    assert a_panel.view.state.message.startswith("Choose the folder of the prepared data set")
    a_start_presenter.setText("run.seed", "x")
    a_start_presenter.start("run", 1)
    assert a_panel.view.state.message == "run.seed must be a whole number, not 'x'."
    a_panel.logic.answers = [saying(error="maisi: There is a training in run already.", code=2)]
    a_start_presenter.setText("run.seed", "3")
    toTheEnd(a_start_presenter)
    a_panel.logic.answers = [saying(error="maisi: There is a training in run already.", code=2)]
    a_start_presenter.start("run", 1)
    toTheEnd(a_start_presenter)
    assert a_panel.view.state.message == "There is a training in run already."
    assert a_panel.view.started == []
    a_start_presenter.setSlurm(time="soon")
    assert "is no time of SLURM" in a_panel.view.state.message


def test_packages_are_asked_for_before_a_form_is_loaded(a_panel):
    def decline() -> None:
        raise RuntimeError("The installation of Python packages was declined.")

    presenter = StartPresenter(a_panel.view, a_panel.logic, a_panel.settings, a_panel.machine, decline)
    presenter.choosePreset(PRESET)
    assert (a_panel.view.state.message, a_panel.logic.asked) == (
        "The installation of Python packages was declined.",
        [],
    )
    a_panel.machine.python = sys.executable
    a_panel.logic.answers = [saying(json.dumps(VALUES)), saying(json.dumps(SCHEMA))]
    presenter.choosePreset(PRESET)
    toTheEnd(presenter)
    assert a_panel.view.state.startEnabled, "an external Python is its owner's"


def test_a_training_that_is_being_started_is_left_alone_when_the_panel_goes(a_start_presenter, a_panel):
    loadForm(a_start_presenter, a_panel)
    check, start = saying(seconds=600), saying(seconds=0.3)
    a_panel.logic.answers = [check, start]
    a_start_presenter.setText("run.seed", "5")
    a_start_presenter.start("run", 1)
    assert check.done, "the form is not checked any more"
    a_start_presenter.choosePreset("controlnet")
    assert a_panel.view.state.preset == PRESET
    a_start_presenter.close()
    assert not start.done
    start.wait(20)


# ---- runs


@pytest.fixture
def make_runs_presenter(a_scene, a_panel):
    def make() -> RunsPresenter:
        presenter = RunsPresenter(
            a_panel.view, a_panel.logic, a_panel.settings, a_scene, lambda path: RunWatcher(path, lookSeconds=0)
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
