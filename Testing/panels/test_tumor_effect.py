"""The Segment Editor effect's code on real MRML with stand-ins for Qt, views and the editor widget.

It shows that events reach the logic and acts reach the editor's history; it is no test inside 3D Slicer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")

import vtk

from helpers.effect_stub import StubEffectHost, StubView, StubView3D, mouse, stubModules
from maisi.volume import LabelVolume
from MAISISynthLib.SceneIO import addSegmentation
from MAISISynthLib.Sight import Sight
from MAISISynthLib.TumorEdit import TumorEdit

PRESS, MOVE, RELEASE = (
    getattr(vtk.vtkCommand, f"{n}Event") for n in ("LeftButtonPress", "MouseMove", "LeftButtonRelease")
)
WHEEL_UP = vtk.vtkCommand.MouseWheelForwardEvent


@pytest.fixture
def a_segmentation(a_scene):
    """A liver in a box of 60 x 60 x 40 mm; RAS = voxel index."""
    array = np.zeros((60, 60, 40), np.uint8)
    array[5:55, 5:55, 4:36] = 1
    return addSegmentation(a_scene, LabelVolume(array, np.eye(4)), "Case")


@pytest.fixture
def an_effect(monkeypatch, a_segmentation):
    """The effect in its editor, with its options frame set up."""
    for name, module in stubModules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in [name for name in sys.modules if name.startswith("SegmentEditorTumorLib")]:
        monkeypatch.delitem(sys.modules, name)
    from SegmentEditorTumorLib import SegmentEditorEffect

    effect = SegmentEditorEffect(StubEffectHost(a_segmentation))
    effect.setMRMLDefaults()
    effect.setupOptionsFrame()
    effect.updateGUIFromMRML()
    yield effect
    effect.cleanup()
    for name in [name for name in sys.modules if name.startswith("SegmentEditorTumorLib")]:
        sys.modules.pop(name)


@pytest.fixture
def a_view():
    return StubView(corner=(0, 0, 20))


def drag(effect, view, *path, release=True) -> list[bool]:
    """Press at the first pixel, move along, release; returns which events the effect used."""
    steps = [(PRESS, path[0]), *((MOVE, xy) for xy in path[1:]), *([(RELEASE, path[-1])] if release else [])]
    return [effect.processInteractionEvents(mouse(xy), event, view) for event, xy in steps]


def lesions(effect) -> dict:
    return TumorEdit(effect.scriptedEffect.editorNode.GetSegmentationNode()).lesions()


def test_it_introduces_itself(an_effect):
    host = an_effect.scriptedEffect
    assert (host.name, host.perSegment) == ("Tumor", False)
    assert Path(an_effect.icon()).read_bytes()[:4] == b"\x89PNG"
    assert Path(an_effect.filePath).name == "SegmentEditorEffect.py"
    assert "Shift" in an_effect.helpText()
    assert not host.options["First radius:"].enabled, "no tumor is selected"


def test_a_click_places_and_selects_a_tumor(an_effect, a_view):
    host = an_effect.scriptedEffect
    host.options["Radius of a new tumor:"].value = 7.0
    assert drag(an_effect, a_view, (25, 30), release=False) == [True]
    assert (a_view.drawn, lesions(an_effect)) == (2, {}), "outline and handles"
    assert an_effect.processInteractionEvents(mouse((25, 30)), RELEASE, a_view)
    ((segmentId, lesion),) = lesions(an_effect).items()
    assert (lesion.center, lesion.radii) == ((25, 30, 20), (7, 7, 7))
    assert (a_view.drawn, host.saved) == (0, 1)
    assert host.editorNode.GetSelectedSegmentID() == segmentId
    assert host.options["First radius:"].enabled
    assert host.options["First radius:"].value == 7


def test_a_drag_moves_a_tumor_and_the_editor_undoes_it(an_effect, a_view):
    drag(an_effect, a_view, (25, 30))
    assert drag(an_effect, a_view, (26, 30), (30, 33), (36, 35), release=False) == [True] * 3
    (lesion,) = lesions(an_effect).values()
    assert (lesion.center, a_view.drawn) == ((25, 30, 20), 2)
    an_effect.processInteractionEvents(mouse((36, 35)), RELEASE, a_view)
    (lesion,) = lesions(an_effect).values()
    assert lesion.center == pytest.approx((35, 35, 20))
    an_effect.scriptedEffect.logic.Undo()
    (lesion,) = lesions(an_effect).values()
    assert lesion.center == (25, 30, 20)


def test_the_selected_tumor_shows_its_handles_where_the_mouse_is(an_effect, a_view):
    assert not an_effect.processInteractionEvents(mouse((25, 30)), MOVE, a_view)
    assert a_view.drawn == 0, "nothing is selected"
    drag(an_effect, a_view, (25, 30))
    other = StubView(corner=(0, 0, 20))
    for view in (a_view, other):
        assert not an_effect.processInteractionEvents(mouse((50, 50)), MOVE, view), "the view may react"
    assert (a_view.drawn, other.drawn) == (0, 1)
    an_effect.processInteractionEvents(mouse((50, 50)), vtk.vtkCommand.LeaveEvent, other)
    assert other.drawn == 0
    an_effect.processInteractionEvents(mouse((50, 50)), MOVE, a_view)
    an_effect.deactivate()
    assert a_view.drawn == 0


def test_a_handle_in_a_slice_view_stretches_one_axis_and_the_editor_undoes_it(an_effect, a_view):
    drag(an_effect, a_view, (25, 30))
    saved = an_effect.scriptedEffect.saved
    assert drag(an_effect, a_view, (25, 40), (25, 43), (27, 46)) == [True] * 4
    (lesion,) = lesions(an_effect).values()
    assert lesion.radii == pytest.approx((10, 16, 10))
    assert an_effect.scriptedEffect.saved == saved + 1
    assert an_effect.scriptedEffect.options["Second radius:"].value == 16
    an_effect.scriptedEffect.logic.Undo()
    (lesion,) = lesions(an_effect).values()
    assert lesion.radii == (10, 10, 10)


def test_a_handle_in_a_3d_view_stretches_one_axis(an_effect, a_view):
    drag(an_effect, a_view, (25, 30))
    view, (lesion,) = StubView3D(), lesions(an_effect).values()
    sight = Sight.ofCamera(view.vtkRenderer)
    top, higher = (sight.pixels(np.add(lesion.center, (0, 0, z)))[:2] for z in (10, 13))
    assert drag(an_effect, view, (5, 5)) == [False, False], "nothing is there"
    assert drag(an_effect, view, top, higher, release=False) == [True, True]
    assert view.vtkRenderer.GetViewProps().GetNumberOfItems() == 2
    assert an_effect.processInteractionEvents(mouse(higher), RELEASE, view)
    (stretched,) = lesions(an_effect).values()
    assert stretched.radii == pytest.approx((10, 10, 13), abs=0.01)
    assert stretched.center == lesion.center


def test_the_wheel_grows_with_shift_and_scrolls_without(an_effect, a_view):
    drag(an_effect, a_view, (25, 30))
    assert not an_effect.processInteractionEvents(mouse((25, 30)), WHEEL_UP, a_view)
    assert not an_effect.processInteractionEvents(mouse((45, 45), shift=True), WHEEL_UP, a_view), "no tumor there"
    for _turn in range(3):
        assert an_effect.processInteractionEvents(mouse((25, 30), shift=True), WHEEL_UP, a_view)
    saved = an_effect.scriptedEffect.saved
    assert not an_effect.processInteractionEvents(mouse((30, 30)), MOVE, a_view), "the mouse passing by drags nothing"
    an_effect._wheelTimer.emit()
    (lesion,) = lesions(an_effect).values()
    assert lesion.radii == (11.5,) * 3
    assert an_effect.scriptedEffect.saved == saved + 1


def test_sliders_and_buttons_change_the_selected_tumor(an_effect, a_view):
    options = an_effect.scriptedEffect.options
    drag(an_effect, a_view, (20, 30))
    options["Second radius:"].value = 6.0
    options["Lobulation:"].value = 0.3
    ((segmentId, lesion),) = lesions(an_effect).items()
    assert (lesion.radii, lesion.lobulation) == ((10, 6, 10), 0.3)
    options["New shape"].emit(False)
    assert lesions(an_effect)[segmentId].seed != lesion.seed
    options["Duplicate"].emit(False)
    assert len(lesions(an_effect)) == 2
    assert an_effect.scriptedEffect.editorNode.GetSelectedSegmentID() != segmentId
    options["Remove"].emit(False)
    assert list(lesions(an_effect)) == [segmentId]


def test_what_a_slider_cannot_show_stays_exact(an_effect, a_view):
    drag(an_effect, a_view, (20, 30))
    ((segmentId, _lesion),) = lesions(an_effect).items()
    an_effect.tumors().stretch(segmentId, (1.0377, 1, 1))
    an_effect.updateGUIFromMRML()
    options = an_effect.scriptedEffect.options
    assert options["First radius:"].value == 10.4
    options["Spiculation:"].value = 0.5
    (lesion,) = lesions(an_effect).values()
    assert (lesion.radii[0], lesion.spiculation) == (pytest.approx(10.377), 0.5)
    options["Lobulation:"].value = 0.2
    (lesion,) = lesions(an_effect).values()
    assert (lesion.radii[0], lesion.lobulation, lesion.spiculation) == (pytest.approx(10.377), 0.2, 0.5)


def test_what_cannot_be_done_is_said_and_changes_nothing(an_effect, a_view):
    message = an_effect.scriptedEffect.options["message"]
    assert drag(an_effect, a_view, (80, 80)) == [False, False]
    assert message.text.startswith("At this place is no organ")
    drag(an_effect, a_view, (25, 30))
    assert message.text == ""
    drag(an_effect, a_view, (25, 30), (95, 95))
    assert message.text.startswith("Nothing of the hepatic tumor")
    (lesion,) = lesions(an_effect).values()
    assert lesion.center == (25, 30, 20)
    assert a_view.drawn == 0


def test_events_of_others_are_left_to_them(an_effect, a_view):
    assert not an_effect.processInteractionEvents(mouse((25, 30), shift=True), PRESS, a_view), "pan"
    assert not an_effect.processInteractionEvents(mouse((25, 30)), MOVE, a_view)
    assert not an_effect.processInteractionEvents(mouse((25, 30)), RELEASE, a_view)
    assert not an_effect.processInteractionEvents(mouse((25, 30)), vtk.vtkCommand.KeyPressEvent, a_view)


def test_leaving_the_effect_while_dragging_writes_nothing(an_effect, a_view):
    drag(an_effect, a_view, (25, 30), (30, 30), release=False)
    an_effect.deactivate()
    assert (a_view.drawn, lesions(an_effect)) == (0, {})


def test_registration_imports_the_package_before_it_names_the_file(an_effect, monkeypatch):
    from MAISISynthLib.TumorEffectRegistration import registerTumorEffect

    registered = []

    class StubScriptedEffect:
        def __init__(self, parent) -> None:
            assert parent is None

        def setPythonSource(self, path: str) -> None:
            assert hasattr(sys.modules["SegmentEditorTumorLib"], "__path__"), "would be executed as a plain module"
            assert path == an_effect.filePath

        def self(self) -> SimpleNamespace:
            return SimpleNamespace(register=lambda: registered.append(self))

    module = SimpleNamespace(qSlicerSegmentEditorScriptedEffect=StubScriptedEffect)
    monkeypatch.setitem(sys.modules, "qSlicerSegmentationsEditorEffectsPythonQt", module)
    registerTumorEffect()
    (effect,) = registered
    assert isinstance(an_effect.clone(), StubScriptedEffect)
    assert an_effect.clone() is not effect
