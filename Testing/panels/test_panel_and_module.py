"""The panel's and the module file's code, run once over with stand-ins for Qt: it loads, connects and reacts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.fake_worker import fakeWorker
from helpers.processes import waitUntil
from helpers.qt_stub import stubModules, stubUi
from MAISILib.Worker import Worker
from MAISISynthLib.SampleData import registerSampleData
from MAISISynthLib.TumorEffectRegistration import registerTumorEffect

MODULE_FILE = Path(__file__).parents[2] / "MAISISynth" / "MAISISynth.py"


@pytest.fixture
def an_application(monkeypatch, a_scene):
    """slicer-core with stand-ins for what only the application has."""
    import slicer

    for name, module in stubModules().items():
        monkeypatch.setitem(sys.modules, name, module)
    shown = []
    monkeypatch.setattr(slicer.util, "setSliceViewerLayers", lambda background: shown.append(background))
    values = {}
    settings = SimpleNamespace(value=values.get, setValue=values.__setitem__)
    connected = []
    application = SimpleNamespace(userSettings=lambda: settings, connect=lambda *pair: connected.append(pair))
    monkeypatch.setattr(slicer, "app", application, raising=False)
    monkeypatch.delitem(sys.modules, "MAISISynthLib.SynthesisPanel", raising=False)
    yield SimpleNamespace(shown=shown, connected=connected)
    sys.modules.pop("MAISISynthLib.SynthesisPanel", None)


@pytest.fixture
def a_panel(an_application, monkeypatch):
    from MAISILib import Interpreter
    from MAISISynthLib.SynthesisLogic import MAISISynthLogic
    from MAISISynthLib.SynthesisPanel import SynthesisPanel

    monkeypatch.setattr(Interpreter, "_insideSlicer", lambda: False)  # this Python, not PythonSlicer
    panel = SynthesisPanel(stubUi(), MAISISynthLogic(Worker(arguments=fakeWorker())))
    yield panel
    panel.cleanup()


def test_panel_makes_a_ct_and_shows_it(a_panel, an_application, a_segmentation_with_liver_and_tumor):
    ui = a_panel.ui
    assert not ui.synthesizeButton.enabled
    assert ui.beforeSelector.attributes == [("vtkMRMLScalarVolumeNode", "MAISI.Synthetic", "1")]
    ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    assert ui.synthesizeButton.enabled
    ui.synthesizeButton.emit(False)
    assert (ui.synthesizeButton.text, ui.progressBar.visible, ui.progressBar.maximum) == ("Cancel", True, 0)
    assert not ui.segmentationSelector.enabled
    timer = a_panel._pollTimer
    assert timer.active
    waitUntil(lambda: (timer.emit(), not timer.active)[1])
    (volume,) = an_application.shown
    assert ui.beforeSelector.currentNode() is volume
    assert ui.synthesizeButton.text == "Synthesize the change"
    assert not ui.progressBar.visible


def test_panel_looks_again_once_edits_pause(a_panel, a_segmentation_with_liver_and_tumor):
    ui, node = a_panel.ui, a_segmentation_with_liver_and_tumor
    ui.segmentationSelector.setCurrentNode(node)
    node.GetSegmentation().AddEmptySegment("", "Aorta")
    assert a_panel._editTimer.active
    assert "3 of 3" in ui.statusLabel.text
    a_panel._editTimer.emit()
    assert "4 of 4" in ui.statusLabel.text


def test_panel_lets_go_of_a_segmentation(a_panel, a_scene, a_segmentation_with_liver_and_tumor):
    a_panel.ui.segmentationSelector.setCurrentNode(a_segmentation_with_liver_and_tumor)
    a_panel.ui.segmentationSelector.setCurrentNode(None)
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "Aorta")
    assert not a_panel._editTimer.active
    assert a_panel.ui.statusLabel.text == "Choose a segmentation."


def test_dice_gives_another_seed(a_panel):
    seeds = set()
    for _throw in range(5):
        a_panel.ui.diceButton.emit(False)
        seeds.add(a_panel.ui.seedSpinBox.value)
    assert len(seeds) > 1
    assert all(0 <= seed <= 999999 for seed in seeds)


def test_module_file_describes_itself(an_application):
    spec = importlib.util.spec_from_file_location("MAISISynth", MODULE_FILE)
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
