"""The panel's and the module file's code, run once over with stand-ins for Qt: it loads, connects and reacts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
from helpers.fake_worker import fakeWorker
from helpers.processes import waitUntil
from helpers.qt_stub import StubObject, StubParameterNodes, stubModules, stubUi
from helpers.tiny_model import write_tiny_model
from maisi.models.variants import get_variant
from MAISILib.Worker import Worker
from MAISISynthLib.SampleData import registerSampleData
from MAISISynthLib.TumorEffectRegistration import registerTumorEffect

MODULE = Path(__file__).parents[2] / "MAISISynth"
USES_QT = ("Panel", "Pump", "Widget")


@pytest.fixture
def an_application(monkeypatch, a_scene):
    """slicer-core with stand-ins for what only the application has."""
    import slicer

    for name, module in stubModules().items():
        monkeypatch.setitem(sys.modules, name, module)
    values, asked = {}, []
    settings = SimpleNamespace(value=values.get, setValue=values.__setitem__)
    connected = []
    application = SimpleNamespace(
        userSettings=lambda: settings, processEvents=lambda: None, connect=lambda *pair: connected.append(pair)
    )
    monkeypatch.setattr(slicer, "app", application, raising=False)
    factory = StubObject("QFactory")
    factories = SimpleNamespace(instance=lambda: factory)
    monkeypatch.setattr(slicer, "qSlicerSegmentEditorEffectFactory", factories, raising=False)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, **_: asked.append(text) or True)
    fitted = []
    monkeypatch.setattr(slicer.util, "resetSliceViews", lambda: fitted.append(True))
    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetLayoutName("Red")
    a_scene.AddNode(composite)
    ours = [f"MAISISynthLib.{path.stem}" for path in (MODULE / "MAISISynthLib").glob("*.py")]
    panels = [name for name in ours if name.endswith(USES_QT)]
    for name in panels:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(
        settings=values,
        connected=connected,
        asked=asked,
        factory=factory,
        red=composite,
        fitted=fitted,
        qt=sys.modules["qt"],
    )
    for name in panels:
        sys.modules.pop(name, None)


@pytest.fixture
def a_panel(an_application, monkeypatch, tmp_path):
    from MAISILib import Interpreter
    from MAISISynthLib.MAISISynthPanel import MAISISynthPanel
    from MAISISynthLib.SynthesisLogic import MAISISynthLogic

    monkeypatch.setattr(Interpreter, "_insideSlicer", lambda: False)  # this Python, not PythonSlicer
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    panel = MAISISynthPanel(stubUi(), MAISISynthLogic(Worker(arguments=fakeWorker())), StubParameterNodes())
    panel.enter()
    yield panel
    panel.cleanup()


def poll(panel) -> bool:
    """Let the panel's timer ring; whether it goes on."""
    timer = panel._pump._timer
    if timer.active:
        timer.ring()
    return timer.active


def synthesize(panel, segmentation):
    panel.ui.segmentationSelector.setCurrentNode(segmentation)
    panel.ui.synthesizeButton.click()
    waitUntil(lambda: not poll(panel))
    return panel.ui.beforeSelector.currentNode()


# ---- synthesis


def test_panel_makes_a_ct_and_shows_it(a_panel, an_application, a_segmentation_with_liver_and_tumor):
    ui = a_panel.ui
    assert not ui.synthesizeButton.enabled
    ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    assert ui.statusLabel.text.startswith("Liver, spleen and 1 lesion")
    ui.synthesizeButton.click()
    assert (ui.synthesizeButton.text, ui.progressBar.visible, ui.progressBar.maximum) == ("Cancel", True, 0)
    assert not ui.segmentationSelector.enabled
    assert not ui.advancedCollapsibleButton.enabled
    waitUntil(lambda: not poll(a_panel))
    volume = ui.beforeSelector.currentNode()
    assert volume.GetName() == "Case SYNTHETIC CT"
    assert an_application.red.GetBackgroundVolumeID() == volume.GetID()
    assert an_application.fitted == [True], "the views were empty"
    assert ui.compareAfterSelector.currentNode() is volume
    assert ui.synthesizeButton.text == "Synthesize the change"
    assert (ui.progressBar.visible, ui.seedSpinBox.enabled) == (False, False)
    assert [row[0] for row in ui.historyTable.texts()] == ["Case SYNTHETIC CT"]


def test_panel_tells_memory_and_time_of_the_machine_that_is_chosen(a_panel, a_segmentation_with_liver_and_tumor):
    ui = a_panel.ui
    ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    waitUntil(lambda: not poll(a_panel))
    assert ui.statusLabel.text.endswith("; about 24 s, 1.4 GB")
    ui.pythonPathLineEdit.currentPath = sys.executable
    assert "1.4 GB" not in ui.statusLabel.text
    waitUntil(lambda: not poll(a_panel))
    assert ui.statusLabel.text.endswith("; about 24 s, 1.4 GB")
    synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    waitUntil(lambda: not poll(a_panel))
    assert ui.statusLabel.text.endswith("; a change: about 1 s, 1.4 GB")


def test_panel_looks_again_once_edits_pause(a_panel, a_segmentation_with_liver_and_tumor):
    ui, node = a_panel.ui, a_segmentation_with_liver_and_tumor
    ui.segmentationSelector.setCurrentNode(node)
    for _edit in range(3):
        node.GetSegmentation().AddEmptySegment("", "Aorta")
    assert "3 of 3" in ui.statusLabel.text
    a_panel._edits._timer.ring()
    assert "6 of 6" in ui.statusLabel.text
    assert not a_panel._edits._timer.active, "three edits are one"


def test_an_edit_is_synthesized_by_itself_when_that_is_wished(a_panel, a_segmentation_with_liver_and_tumor):
    first = synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    a_panel.ui.autoUpdateCheckBox.checked = True
    a_segmentation_with_liver_and_tumor.GetSegmentation().RemoveSegment(
        a_segmentation_with_liver_and_tumor.GetSegmentation().GetNthSegmentID(2)
    )
    a_panel._edits._timer.ring()
    assert a_panel.ui.synthesizeButton.text == "Cancel"
    waitUntil(lambda: not poll(a_panel))
    assert a_panel.ui.compareBeforeSelector.currentNode() is first
    assert a_panel.ui.compareAfterSelector.currentNode() is a_panel.ui.beforeSelector.currentNode()
    assert len(a_panel.ui.historyTable.rows) == 2


def test_panel_lets_go_of_a_segmentation(a_panel, a_segmentation_with_liver_and_tumor):
    a_panel.ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    a_panel.ui.segmentationSelector.setCurrentNode(None)
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "Aorta")
    assert not a_panel._edits._timer.active
    assert a_panel.ui.statusLabel.text == "Choose a segmentation."


def test_dice_gives_another_seed(a_panel):
    seeds = set()
    for _throw in range(5):
        a_panel.ui.diceButton.click()
        seeds.add(a_panel.ui.seedSpinBox.value)
    assert len(seeds) > 1
    assert all(0 <= seed <= 999999 for seed in seeds)


def test_model_and_device_are_chosen(a_panel, an_application):
    ui = a_panel.ui
    assert ui.modelComboBox.items == [(get_variant("embedded").title, "embedded")]
    a_panel._choices.parameters.model = "rflow-ct"
    assert ui.modelComboBox.items[ui.modelComboBox.currentIndex] == ("rflow-ct (not installed)", "rflow-ct")
    ui.modelComboBox.choose("embedded")
    assert a_panel.inputs.presenter.choices.model == "embedded"
    ui.checkButton.click()
    waitUntil(lambda: not poll(a_panel))
    ui.deviceComboBox.choose("cpu")
    assert an_application.settings["MAISI/Device"] == "cpu"
    assert "works, on: cpu" in ui.environmentLabel.text


def test_log_goes_to_the_clipboard(a_panel, an_application):
    a_panel.ui.logText.plainText = "a line"
    a_panel.ui.copyLogButton.click()
    assert an_application.qt.clipboard == ["a line"]


# ---- compare, runs, models


def test_compare_runs_through_its_buttons(a_panel, an_application, a_segmentation_with_liver_and_tumor):
    ui = a_panel.ui
    first = synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    assert not ui.compareButton.enabled
    ui.beforeSelector.setCurrentNode(None)
    ui.seedSpinBox.value = 60
    second = synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    ui.compareBeforeSelector.setCurrentNode(first)
    ui.compareButton.click()
    assert ui.compareLabel.text == "100 % of the voxels differ, by up to 60 HU."
    assert [row[0] for row in ui.compareTable.texts()] == ["hepatic tumor", "liver"]
    ui.fadeSlider.value = 0.5
    assert an_application.red.GetForegroundOpacity() == 0.5
    ui.flickerButton.checked = True
    a_panel.compare._timer.ring()
    assert an_application.red.GetForegroundOpacity() == 0
    ui.differenceButton.checked = True
    assert not ui.flickerButton.checked
    assert not a_panel.compare._timer.active
    assert an_application.qt.cursors == [], "the usual cursor is back"
    difference = an_application.red.GetForegroundVolumeID()
    assert difference not in (first.GetID(), second.GetID())


def test_runs_can_be_shown_restored_and_removed(a_panel, an_application, a_segmentation_with_liver_and_tumor):
    ui = a_panel.ui
    ui.seedSpinBox.value = 7
    first = synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    ui.beforeSelector.setCurrentNode(None)
    ui.seedSpinBox.value = 8
    synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    ui.historyTable.selectRow(1)
    ui.showRunButton.click()
    assert ui.beforeSelector.currentNode() is first
    ui.restoreRunButton.click()
    assert (ui.seedSpinBox.value, ui.beforeSelector.currentNode()) == (7, None)
    ui.deleteRunButton.click()
    assert len(an_application.asked) == 1
    assert first.GetScene() is None
    assert [row[2] for row in ui.historyTable.texts()] == ["8"]


def test_models_offer_what_can_be_done_with_them(a_panel, an_application, tmp_path):
    ui = a_panel.ui
    names = [row[0] for row in ui.modelsTable.texts()]
    ui.modelsTable.selectRow(names.index(get_variant("embedded").title))
    assert (ui.downloadButton.enabled, ui.removeButton.enabled) == (False, False)
    ui.modelsTable.selectRow(names.index("NV-Generate-CT, rectified flow (MAISI-v2)"))
    assert (ui.downloadButton.enabled, ui.removeButton.enabled) == (True, False)
    ui.openFolderButton.click()
    assert an_application.qt.opened == [str(tmp_path)]
    ui.pythonPathLineEdit.currentPath = sys.executable
    assert an_application.settings["MAISI/Python"] == sys.executable
    ui.ownPythonButton.click()
    assert (an_application.settings["MAISI/Python"], ui.pythonPathLineEdit.currentPath) == ("", "")
    ui.remoteHostLineEdit.text = " me@gpu1 "
    ui.remoteHostLineEdit.emit("editingFinished()")
    assert (an_application.settings["MAISI/RemoteHost"], ui.remoteHostLineEdit.text) == ("me@gpu1", "me@gpu1")


# ---- batch


@pytest.fixture
def a_batch(a_panel, a_segmentation_with_liver_and_tumor, monkeypatch, tmp_path):
    """The widgets of a section that would make two cases with a tiny network."""
    write_tiny_model(tmp_path)
    ui = a_panel.ui
    ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    a_panel._choices.parameters.model, a_panel._choices.parameters.steps = "tiny", 1
    ui.varyCasesSpinBox.value = 2
    ui.varyOrgansLineEdit.text = "liver"
    ui.varySizesLineEdit.text = "9"
    ui.varyFolderLineEdit.currentPath = str(tmp_path / "Dataset501_Liver")
    return ui


def test_batch_shows_its_plan(a_batch, a_panel):
    assert a_panel.ui.varyStatusLabel.text == ""
    a_batch.varyPlanButton.click()
    assert a_batch.varyStatusLabel.text.startswith("2 cases, 1 with a lesion: hepatic tumor; 9 to 9 mm")
    a_batch.segmentationSelector.setCurrentNode(None)
    assert a_batch.varyStatusLabel.text == "Choose a segmentation."
    assert (a_batch.varyButton.enabled, a_batch.varyPlanButton.enabled) == (False, False)


def test_batch_makes_a_series_and_goes_on_with_it(a_batch, a_panel, tmp_path):
    a_batch.varyButton.click()
    assert (a_batch.varyButton.text, a_batch.varyProgressBar.visible) == ("Cancel", True)
    assert not a_batch.varyOrgansLineEdit.enabled
    a_batch.varyButton.click()
    assert a_batch.varyStatusLabel.text.startswith("Cancelled.")
    assert a_batch.varyOrgansLineEdit.enabled
    a_batch.varyButton.click()
    waitUntil(lambda: not poll(a_panel), 60)
    assert a_batch.varyStatusLabel.text == "2 of 2 cases are complete in Dataset501_Liver."
    assert len(list((tmp_path / "Dataset501_Liver" / "imagesTr").iterdir())) == 2


def test_batch_ends_with_the_panel(a_batch, a_panel):
    a_batch.varyButton.click()
    job = a_panel.vary.presenter._job
    a_panel.cleanup()
    assert job.state == "cancelled"


# ---- the editor, the scene, the module


def test_editor_has_its_own_node_before_the_scene_and_only_our_tools(a_panel, a_scene):
    editor = a_panel.ui.segmentEditorWidget
    names = [call[0] for call in editor.calls]
    assert names.index("setMRMLSegmentEditorNode") < names.index("setMRMLScene")
    node = next(call[1] for call in editor.calls if call[0] == "setMRMLSegmentEditorNode")
    assert node.GetSingletonTag() == "MAISISynth"
    tools = ["Tumor", "Paint", "Erase", "Islands", "Margin", "Smoothing", "Scissors"]
    assert ("setEffectNameOrder", tools) in editor.calls
    assert (editor.unorderedEffectsVisible, editor.segmentationNodeSelectorVisible) == (False, False)


def test_editor_follows_the_selection_and_later_effects(a_panel, an_application, a_segmentation_with_liver_and_tumor):
    editor = a_panel.ui.segmentEditorWidget
    volume = synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    assert editor.segmentationNode() is a_segmentation_with_liver_and_tumor
    assert ("setSourceVolumeNode", volume) in editor.calls
    an_application.factory.emit("effectRegistered(QString)", "Tumor")
    assert editor.calls[-1] == ("updateEffectList",)


def test_editor_needs_an_image_and_says_so(a_panel, a_segmentation_with_liver_and_tumor):
    hint = a_panel.ui.editHintLabel
    assert not hint.visible
    a_panel.ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    assert (hint.visible, hint.text) == (True, "To edit, press Synthesize first, or choose a CT above.")
    synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    assert not hint.visible


def test_editor_rests_while_the_module_is_hidden_and_is_released_in_the_end(a_panel, an_application):
    editor = a_panel.ui.segmentEditorWidget
    hidden = [("setActiveEffect", None), ("uninstallKeyboardShortcuts",), ("removeViewObservations",)]
    editor.calls.clear()
    a_panel.exit()
    assert editor.calls == hidden
    a_panel.enter()
    assert editor.calls[3] == ("installKeyboardShortcuts",)
    assert editor.calls[-1] == ("updateWidgetFromMRML",)
    editor.calls.clear()
    a_panel.cleanup()
    assert editor.calls == [*hidden, ("setMRMLSegmentEditorNode", None), ("setMRMLScene", None)]
    assert an_application.factory.slots == []


@pytest.mark.parametrize("shown", [True, False])
def test_panel_survives_the_end_of_the_scene(a_panel, a_scene, a_segmentation_with_liver_and_tumor, shown):
    ui = a_panel.ui
    synthesize(a_panel, a_segmentation_with_liver_and_tumor)
    if not shown:
        a_panel.exit()
    a_scene.Clear(0)
    assert a_panel.inputs.presenter.choices.segmentation is None
    assert ui.statusLabel.text == "Choose a segmentation."
    assert not ui.synthesizeButton.enabled
    a_panel.enter()
    assert ui.historyTable.rows == []


def test_a_run_goes_on_while_the_module_is_hidden(a_panel, a_segmentation_with_liver_and_tumor):
    a_panel.ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    a_panel.ui.synthesizeButton.click()
    a_panel.exit()
    waitUntil(lambda: not poll(a_panel))
    assert a_panel.inputs.presenter.choices.before.GetName() == "Case SYNTHETIC CT"
    a_panel.enter()
    assert a_panel.ui.beforeSelector.currentNode().GetName() == "Case SYNTHETIC CT"


def test_a_ct_of_a_closed_scene_can_be_added(a_panel, a_scene, a_segmentation_with_liver_and_tumor):
    ui = a_panel.ui
    ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    assert not ui.rescueButton.visible
    ui.synthesizeButton.click()
    a_scene.Clear(0)
    waitUntil(lambda: not poll(a_panel))
    assert "The scene was closed during the synthesis" in ui.outcomeLabel.text
    ui.rescueButton.click()
    assert ui.beforeSelector.currentNode().GetName() == "Case SYNTHETIC CT"


def test_module_file_describes_itself(an_application):
    spec = importlib.util.spec_from_file_location("MAISISynth", MODULE / "MAISISynth.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parent = SimpleNamespace()
    module.MAISISynth(parent)
    assert an_application.connected == [("startupCompleted()", f) for f in (registerTumorEffect, registerSampleData)]
    assert parent.title == "MAISI Synth"
    assert parent.categories == ["Image Synthesis"]
    assert "Not for clinical use" in parent.helpText
    assert module.MAISISynthLogic.__name__ == "MAISISynthLogic"
    assert issubclass(module.MAISISynthTest, sys.modules["slicer.ScriptedLoadableModule"].ScriptedLoadableModuleTest)
