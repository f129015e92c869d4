"""MAISITrain's panel and module file, run once over with stand-ins for Qt: they load, connect and react."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
pytest.importorskip("pydantic", reason="the extra 'train' is not installed: run `make setup`")
import slicer

from helpers.processes import waitUntil
from helpers.qt_stub import StubParameterNodes, stubModules, stubUi
from helpers.watched_runs import addPreview, addRows, aRun

MODULE = Path(__file__).parents[2] / "MAISITrain"
USES_QT = ("Panel", "Pump", "Widget")


@pytest.fixture
def an_application(monkeypatch, a_scene, tmp_path):
    """slicer-core with stand-ins for what only the application has."""
    for name, module in stubModules().items():
        monkeypatch.setitem(sys.modules, name, module)
    values, charts, layers, opened = {}, [], [], []
    settings = SimpleNamespace(value=values.get, setValue=values.__setitem__)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(userSettings=lambda: settings), raising=False)
    logic = SimpleNamespace(ShowChartInLayout=charts.append)
    monkeypatch.setattr(slicer.modules, "plots", SimpleNamespace(logic=lambda: logic), raising=False)
    monkeypatch.setattr(slicer.util, "setSliceViewerLayers", lambda **given: layers.append(given))
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    monkeypatch.setattr(importlib.import_module("MAISILib.Interpreter"), "_insideSlicer", lambda: False)
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    shared = ["MAISISynthLib.PollPump", "MAISISynthLib.TableWidget"]
    panels = [*shared, *(f"MAISITrainLib.{path.stem}" for path in (MODULE / "MAISITrainLib").glob("*.py"))]
    panels = [name for name in panels if name.endswith(USES_QT)]
    for name in panels:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(settings=values, charts=charts, layers=layers, opened=opened, qt=sys.modules["qt"])
    for name in panels:
        sys.modules.pop(name, None)


@pytest.fixture
def make_panel(an_application):
    from MAISITrainLib.MAISITrainPanel import MAISITrainPanel
    from MAISITrainLib.TrainingLogic import MAISITrainLogic

    made = []

    def make() -> MAISITrainPanel:
        panel = MAISITrainPanel(stubUi("MAISITrain"), MAISITrainLogic(), StubParameterNodes("MAISITrain"))
        made.append(panel)
        panel.enter()
        return panel

    yield make
    for panel in made:
        panel.cleanup()


@pytest.fixture
def a_panel(make_panel):
    return make_panel()


def ring(panel) -> None:
    """The timer, once."""
    if panel._pump._timer.active:
        panel._pump._timer.ring()


def ringUntil(panel, condition, seconds: float = 60) -> None:
    waitUntil(lambda: (ring(panel), condition())[1], seconds)


def test_a_real_form_is_loaded_filled_in_and_a_mistake_comes_back(a_panel, tmp_path):
    """By ``maisi train`` itself."""
    ui = a_panel.ui
    ring(a_panel)
    assert not a_panel._pump._timer.active, "nothing to do"
    assert not ui.startButton.enabled
    ui.presetComboBox.choose("controlnet")
    ringUntil(a_panel, lambda: ui.startButton.enabled)
    assert [text for text, _data in ui.sectionComboBox.items] == ["controlnet", "run", "optimizer", "data", "network"]
    ui.sectionComboBox.choose("run")
    keys = [row[0] for row in ui.formTable.rows]
    ui.formTable.selectRow(keys.index("ema"))
    assert ui.formHelpLabel.text.startswith("Decay of the weights' moving average")
    assert ui.formTable.cellWidget(keys.index("precision"), 1).items[0] == ("bfloat16", "bfloat16")
    steps = ui.formTable.cellWidget(keys.index("steps"), 1)
    steps.text = "100"
    steps.emit("editingFinished()")
    ringUntil(a_panel, lambda: "give exactly one of steps, epochs and hours" in ui.startLabel.text)
    ui.preparedPathLineEdit.currentPath = str(tmp_path)
    ui.runPathLineEdit.currentPath = str(tmp_path / "run")
    ui.startButton.click()
    assert not ui.startButton.enabled
    ringUntil(a_panel, lambda: ui.startButton.enabled)
    assert "give exactly one" in ui.startLabel.text
    assert not (tmp_path / "run").exists()


def test_a_training_that_was_started_is_followed(a_panel, an_application, tmp_path):
    ui = a_panel.ui
    run = aRun(tmp_path / "one", step=2, steps=9)
    addRows(run, 3, 2)
    addPreview(run, 2, 40)
    a_panel.start.runStarted(str(run.path))
    ringUntil(a_panel, lambda: ui.runLabel.text)
    assert ui.runLabel.text == "Step 2/9, epoch 0.0"
    assert ui.runsTable.texts() == [["one", "diffusion", "running", "2/9", "", "2", ""]]
    assert (ui.stopButton.enabled, ui.resumeButton.enabled, ui.useButton.enabled) == (True, False, True)
    ui.plotButton.click()
    assert an_application.charts == [a_panel.runs.presenter.chart]
    ui.smoothingSlider.value = 0.5
    ui.logScaleCheckBox.checked = True
    assert a_panel.runs.presenter.chart.GetYAxisLogScale()
    ui.previewsCheckBox.checked = True
    (layers,) = an_application.layers
    assert layers["background"].GetName() == "one sample, step 2"
    ui.openRunButton.click()
    assert an_application.qt.opened == [str(run.path)]
    ui.stopButton.click()
    ringUntil(a_panel, lambda: "It will write a checkpoint and stop." in ui.runNotesLabel.text)
    ringUntil(a_panel, lambda: ui.runsTable.texts()[0][2] == "stopping")


def test_trainings_are_there_again_when_the_panel_is(make_panel, an_application, tmp_path):
    run = aRun(tmp_path / "one")
    addRows(run, 3)
    first = make_panel()
    first.ui.addRunPathLineEdit.currentPath = str(tmp_path)
    first.ui.addRunButton.click()
    first.cleanup()
    slicer.mrmlScene.Clear(0)
    addRows(run, 2, first=2)
    second = make_panel()
    ringUntil(second, lambda: second.ui.runsTable.texts()[0][5] == "2")
    table = second.runs.presenter.chart.GetNthPlotSeriesNode(0).GetTableNode()
    assert table.GetNumberOfRows() == 2


def test_the_panel_lives_on_when_the_scene_is_closed(a_panel, tmp_path):
    addRows(aRun(tmp_path / "one"), 3, 2)
    a_panel.start.runStarted(str(tmp_path / "one"))
    ringUntil(a_panel, lambda: a_panel.ui.runsTable.texts()[0][5] == "2")
    slicer.mrmlScene.Clear(0)
    ringUntil(a_panel, lambda: a_panel.runs.presenter.chart.GetNumberOfPlotSeriesNodes() == 2)
    a_panel.exit()
    a_panel.enter()


def test_launcher_and_job_are_kept_in_the_settings(make_panel):
    ui = make_panel().ui
    assert not ui.slurmCollapsibleButton.visible
    ui.launcherComboBox.choose("slurm")
    assert ui.slurmCollapsibleButton.visible
    ui.partitionLineEdit.text = "gpu"
    ui.partitionLineEdit.emit("editingFinished()")
    ui.gpusSpinBox.value = 4
    ui.timeLineEdit.text = "soon"
    ui.timeLineEdit.emit("editingFinished()")
    assert "is no time of SLURM" in ui.startLabel.text
    again = make_panel().ui
    assert (again.partitionLineEdit.text, again.gpusSpinBox.value) == ("gpu", 4)
    assert again.slurmCollapsibleButton.visible


def test_a_data_set_that_is_not_there_is_told(a_panel, tmp_path):
    ui = a_panel.ui
    ui.datasetPathLineEdit.currentPath = str(tmp_path / "absent")
    ui.preparedPathLineEdit.currentPath = str(tmp_path / "prepared")
    ui.encoderComboBox.choose("embedded")
    ui.prepareOptionsLineEdit.text = "--min-slices 8"
    ui.prepareOptionsLineEdit.emit("editingFinished()")
    ui.checkDataButton.click()
    assert not ui.checkDataButton.enabled
    ringUntil(a_panel, lambda: ui.checkDataButton.enabled)
    assert "There is no folder" in ui.dataLabel.text


def test_the_end_of_the_log_is_seen(a_panel, tmp_path):
    run = aRun(tmp_path / "one")
    run.log.write_text("first\nlast\n")
    a_panel.start.runStarted(str(run.path))
    ringUntil(a_panel, lambda: a_panel.ui.runLogText.plainText == "first\nlast\n")
    assert a_panel.ui.runLogText.cursor == "end"


def test_a_finding_is_shown_in_full(a_panel, tmp_path):
    from MAISITrainLib.DataPresenter import DataState

    rows = (("a", "no", "labels", "One."), ("b", "yes", "labels", "Two."))
    a_panel.data.showData(DataState("", "", "", (("", "None"),), "", rows, "", False))
    assert a_panel.ui.dataDetailLabel.text == "a: One."
    a_panel.ui.dataTable.selectRow(1)
    assert a_panel.ui.dataDetailLabel.text == "b: Two."


def test_module_file_makes_its_panel(an_application, monkeypatch):
    """As Slicer does, but for the parameter node's wrapper, which slicer-core lacks."""
    monkeypatch.setitem(
        sys.modules,
        "MAISITrainLib.ParameterNode",
        SimpleNamespace(trainParameters=StubParameterNodes("MAISITrain")),
    )
    ui = stubUi("MAISITrain")
    monkeypatch.setattr(slicer.util, "loadUI", lambda _path: SimpleNamespace(setMRMLScene=lambda _scene: None))
    monkeypatch.setattr(slicer.util, "childWidgetVariables", lambda _widget: ui)
    spec = importlib.util.spec_from_file_location("MAISITrain", MODULE / "MAISITrain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parent = SimpleNamespace(isEntered=True)
    module.MAISITrain(parent)
    assert (parent.title, parent.dependencies) == ("MAISI Train", ["MAISISynth"])
    widget = module.MAISITrainWidget(parent)
    widget.layout = SimpleNamespace(addWidget=lambda _widget: None)
    widget.resourcePath = lambda path: path
    monkeypatch.setattr(module.ScriptedLoadableModuleWidget, "setup", lambda self: None, raising=False)
    widget.setup()
    widget.exit()
    widget.cleanup()
