"""What the section "Synthesize" would show, without a panel."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers.fake_worker import fakeWorker
from helpers.processes import waitUntil
from helpers.slicer_core import addSegmentation, addVolume, contents, segmentNamed, setSegment
from maisi.labels import find_label
from maisi.protocol import Progress, Synthesize
from maisi.volume import ImageVolume
from MAISILib.Settings import Settings
from MAISILib.Worker import Worker
from MAISISynthLib.History import runs
from MAISISynthLib.InputPresenter import InputPresenter, InputState
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import noteOrigin, readImage, readLabelmap, readLabels, setValues
from MAISISynthLib.SynthesisChoices import Choices
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPresenter import RunState, SynthesisPresenter, describeProgress


class FakeView:
    """Remembers what it was told to show, and offers a new CT for the next edit, as the panel does."""

    def __init__(self) -> None:
        self.states: list[RunState] = []
        self.results = []
        self.inputs: InputPresenter | None = None

    @property
    def state(self) -> RunState:
        return self.states[-1]

    def showRun(self, state: RunState) -> None:
        self.states.append(state)

    def showInput(self, state: InputState) -> None:
        self.input = state

    def showResult(self, volumeNode, before) -> None:
        self.results.append((volumeNode, before))
        request = json.loads(volumeNode.GetAttribute("MAISI.Request"))  # "slow" and the like are no models
        volumeNode.SetAttribute("MAISI.Request", json.dumps({**request, "model": "embedded"}))
        self.inputs.setChoices(replace(self.inputs.choices, before=volumeNode))


class AsModel:
    """A logic that always asks for one model, which for the fake worker is a way to misbehave."""

    def __init__(self, logic: MAISISynthLogic) -> None:
        self.logic, self.model, self.worker = logic, "embedded", logic.worker

    def startSynthesis(self, segmentationNode, **options):
        self.options = options
        return self.logic.startSynthesis(segmentationNode, **{**options, "model": self.model})

    def estimate(self, segmentationNode, **options):
        return self.logic.estimate(segmentationNode, **options)


@pytest.fixture
def a_logic():
    logic = AsModel(MAISISynthLogic(Worker(arguments=fakeWorker(), cancelTimeout=0.5)))
    yield logic
    logic.worker.close()


@pytest.fixture
def a_view():
    return FakeView()


@pytest.fixture
def make_presenter(a_view, a_logic):
    def make(settings: Settings | None = None, ensurePackages=lambda: None) -> SynthesisPresenter:
        settings = settings or Settings()
        a_view.inputs = InputPresenter(a_view, a_logic, settings)
        return SynthesisPresenter(a_view, a_view.inputs, a_logic, settings, ensurePackages)

    return make


@pytest.fixture
def a_presenter(make_presenter, a_view, a_segmentation_with_liver_and_tumor):
    presenter = make_presenter()
    a_view.inputs.setChoices(Choices(a_segmentation_with_liver_and_tumor, seed=3))
    presenter.update()
    return presenter


def choose(view: FakeView, **values) -> None:
    view.inputs.setChoices(replace(view.inputs.choices, **values))


def runToTheEnd(presenter) -> None:
    waitUntil(lambda: (presenter.poll(), not presenter.busy)[1])


def shrinkSpleen(segmentation, labels, grid, keep: int) -> None:
    mask = labels.array == find_label("spleen")
    mask[keep:] = False
    setSegment(segmentation, segmentNamed(segmentation, "Spleen"), mask, grid)


def test_without_a_segmentation_the_button_waits(make_presenter, a_view):
    make_presenter().update()
    assert (a_view.state.buttonEnabled, a_view.state.buttonText) == (False, "Synthesize")


def test_a_run_from_start_to_result(a_presenter, a_view, a_logic):
    a_logic.model = "slow"
    a_presenter.press()
    assert (a_view.state.running, a_view.state.buttonText, a_view.state.inputsEnabled) == (True, "Cancel", False)
    assert (a_view.state.percent, a_view.state.progressText) == (None, "Starting")
    waitUntil(lambda: (a_presenter.poll(), a_view.state.percent)[1])
    assert a_view.state.progressText.startswith("Sampling ")
    assert a_view.state.progressText.endswith("1 s left, 0.5 GB")
    runToTheEnd(a_presenter)
    assert (a_view.state.buttonText, a_view.state.inputsEnabled) == ("Synthesize the change", True)
    assert a_view.state.outcome == "'Case SYNTHETIC CT' is ready."
    assert [(volume.GetName(), before) for volume, before in a_view.results] == [("Case SYNTHETIC CT", None)]


def test_choices_reach_the_logic(a_presenter, a_view, a_logic):
    choose(a_view, steps=12, model="rflow-ct")
    a_presenter.press()
    assert a_logic.options == {
        "before": None, "seed": 3, "model": "rflow-ct", "steps": 12, "solver": None,
        "method": "local", "device": "auto", "draft": None,
    }  # fmt: skip


def test_notices_stand_under_the_result(a_presenter, a_view, a_segmentation_with_liver_and_tumor):
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "puzzle")
    a_presenter.press()
    runToTheEnd(a_presenter)
    assert "Not recognized and left out: 'puzzle'" in a_view.state.outcome


def test_the_same_button_cancels(a_presenter, a_view, a_logic, a_scene):
    before = contents(a_scene)
    a_logic.model = "slow"
    a_presenter.press()
    a_presenter.press()
    runToTheEnd(a_presenter)
    assert a_view.state.outcome == "Cancelled; the scene is as it was."
    assert a_view.results == []
    assert contents(a_scene) == before


def test_a_crash_opens_the_log(a_presenter, a_view, a_logic):
    a_logic.model = "crash"
    a_presenter.press()
    runToTheEnd(a_presenter)
    assert "ended unexpectedly" in a_view.state.outcome
    assert "\n" not in a_view.state.outcome
    assert a_view.state.logOpened
    assert "no kernel image" in a_view.state.log
    assert a_view.state.buttonEnabled, "one can try again"


def test_an_edit_keeps_seed_and_model_and_is_refused_where_nothing_changed(a_presenter, a_view, a_logic):
    a_presenter.press()
    runToTheEnd(a_presenter)
    assert a_view.state.buttonText == "Synthesize the change"
    assert not a_view.input.seedEnabled, "an edit needs the noise of the CT it changes"
    assert a_view.input.notices[0].endswith("the seed and the model (embedded) of 'Case SYNTHETIC CT'.")
    choose(a_view, seed=99, model="rflow-ct")
    a_presenter.press()
    assert (a_logic.options["seed"], a_logic.options["model"]) == (None, None), "those of the CT"
    assert not a_view.state.running
    assert "edit it first" in a_view.state.outcome


def test_a_patients_ct_is_changed_with_the_chosen_seed_and_model(a_view, a_presenter, a_volume):
    choose(a_view, before=a_volume, seed=99)
    assert a_view.input.seedEnabled
    assert a_view.inputs.choices.options()["seed"] == 99


def test_a_ct_on_another_grid_is_refused_with_a_sentence(a_presenter, a_view, an_oblique_affine, a_scene):
    a_presenter.press()
    runToTheEnd(a_presenter)
    volume = a_view.results[0][0]
    other = addVolume(np.zeros((24, 20, 15), np.int16), an_oblique_affine, "Other")
    a_view.inputs.choices.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(other)
    before = contents(a_scene)
    a_presenter.press()
    assert not a_view.state.running
    assert f"'{volume.GetName()}' is on another grid than the segmentation" in a_view.state.outcome
    assert contents(a_scene) == before


def test_a_second_run_waits_for_the_first(a_presenter, a_view, a_logic, a_volume):
    other = a_logic.logic.startSynthesis(a_view.inputs.choices.segmentation, model="slow")
    waitUntil(lambda: other.poll() and other.state == "running")
    a_presenter.press()
    assert a_view.state.progressText == "Waiting for what was asked before"
    other.wait(20)
    runToTheEnd(a_presenter)
    assert a_view.state.outcome.startswith("'Case SYNTHETIC CT_1' is ready.")


def test_a_segmentation_that_is_deleted_during_the_run_loses_nothing(a_presenter, a_view, a_logic, a_scene):
    a_logic.model = "slow"
    a_presenter.press()
    a_scene.RemoveNode(a_view.inputs.choices.segmentation)
    choose(a_view, segmentation=None)
    runToTheEnd(a_presenter)
    assert a_view.state.outcome.splitlines() == [
        "'Case SYNTHETIC CT' is ready.",
        "The segmentation was removed during the synthesis; the CT was added without it.",
    ]


def test_a_ct_that_is_deleted_while_it_is_changed_does_not_matter(
    a_presenter, a_view, a_logic, a_scene, a_liver_with_tumor, a_volume
):
    a_presenter.press()
    runToTheEnd(a_presenter)
    old = a_view.results[0][0]
    shrinkSpleen(a_view.inputs.choices.segmentation, a_liver_with_tumor, a_volume, 20)
    a_presenter.press()
    a_scene.RemoveNode(old)
    runToTheEnd(a_presenter)
    assert a_view.results[1][1] is None, "there is nothing to compare with"
    assert "is ready" in a_view.state.outcome


def test_a_scene_that_is_closed_during_the_run_can_still_have_the_ct(a_presenter, a_view, a_logic, a_scene):
    a_logic.model = "slow"
    a_presenter.press()
    a_scene.Clear(0)
    a_view.inputs.setChoices(Choices())
    runToTheEnd(a_presenter)
    assert a_view.state.outcome.startswith("The scene was closed during the synthesis")
    assert contents(a_scene) == {}
    assert a_view.state.rescueEnabled
    a_presenter.rescue()
    assert [volume.GetName() for volume, _before in a_view.results] == ["Case SYNTHETIC CT"]
    assert a_view.results[0][0].GetScene() is a_scene
    assert not a_view.state.rescueEnabled


# ---- after every edit


@pytest.fixture
def an_updating_presenter(a_presenter, a_view):
    """One whole CT is there, and the change is to be synthesized after every edit."""
    choose(a_view, autoUpdate=True)
    a_presenter.press()
    runToTheEnd(a_presenter)
    return a_presenter


def test_an_edit_starts_a_run_by_itself(an_updating_presenter, a_view, a_logic, a_liver_with_tumor, a_volume):
    shrinkSpleen(a_view.inputs.choices.segmentation, a_liver_with_tumor, a_volume, 20)
    an_updating_presenter.edited()
    assert a_view.state.running
    assert a_logic.options["before"] is a_view.results[0][0]
    runToTheEnd(an_updating_presenter)
    assert a_view.results[1][1] is a_view.results[0][0]


def test_edits_during_a_run_are_one_more_run_and_never_two_at_once(
    an_updating_presenter, a_view, a_logic, a_liver_with_tumor, a_volume
):
    segmentation = a_view.inputs.choices.segmentation
    a_logic.model = "slow"
    shrinkSpleen(segmentation, a_liver_with_tumor, a_volume, 21)
    an_updating_presenter.edited()
    for keep in (20, 19):
        shrinkSpleen(segmentation, a_liver_with_tumor, a_volume, keep)
        an_updating_presenter.edited()
    assert [type(job.request) for job in a_logic.worker._jobs].count(Synthesize) == 1
    runToTheEnd(an_updating_presenter)
    assert len(a_view.results) == 3, "the first CT, the first edit, and the other two together"


def shrinkAndWait(presenter, view, labels, grid, keep: int):
    """The CT of an automatic run."""
    shrinkSpleen(view.inputs.choices.segmentation, labels, grid, keep)
    presenter.edited()
    runToTheEnd(presenter)
    return view.results[-1][0]


def test_the_next_automatic_run_replaces_the_ct_of_the_last(
    an_updating_presenter, a_view, a_scene, a_liver_with_tumor, a_volume
):
    first = a_view.results[0][0]
    kept = readImage(first).array.copy()
    draft = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 20)
    nodes, values = set(contents(a_scene)), readImage(draft).array.copy()
    again = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 18)
    assert again is draft
    assert set(contents(a_scene)) == nodes
    segmentation = a_view.inputs.choices.segmentation
    labels = readLabels(segmentation, mapSegments(segmentation).ids)
    assert np.array_equal(readLabelmap(draft).array, labels.array)
    assert not np.array_equal(readImage(draft).array, values)
    assert np.array_equal(readImage(first).array, kept), "what the user asked for stays"
    assert a_view.results[-1] == (draft, first)
    assert [(run.volumeNode, run.before, run.kind) for run in runs(a_scene)] == [
        (first, None, "whole"),
        (draft, first, "change of Case SYNTHETIC CT"),
    ]


def rename(volume) -> None:
    volume.SetName("Mine")


def paintOver(volume) -> None:
    image = readImage(volume)
    setValues(volume, ImageVolume(image.array + 1, image.affine))


def save(volume) -> None:
    volume.AddDefaultStorageNode("mine.nrrd")


def useForAnother(volume) -> None:
    other = volume.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Other")
    noteOrigin(other, volume)


@pytest.mark.parametrize("act", [rename, paintOver, save, useForAnother])
def test_a_ct_that_the_user_made_their_own_is_not_replaced(
    an_updating_presenter, a_view, a_liver_with_tumor, a_volume, act
):
    draft = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 20)
    act(draft)
    values = readImage(draft).array.copy()
    other = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 18)
    assert other is not draft
    assert np.array_equal(readImage(draft).array, values)
    assert a_view.results[-1][1] is draft


def test_a_ct_that_the_user_asked_for_is_not_replaced(an_updating_presenter, a_view, a_liver_with_tumor, a_volume):
    draft = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 20)
    shrinkSpleen(a_view.inputs.choices.segmentation, a_liver_with_tumor, a_volume, 19)
    an_updating_presenter.press()
    runToTheEnd(an_updating_presenter)
    asked = a_view.results[-1][0]
    automatic = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 18)
    assert len({draft, asked, automatic}) == 3


def test_a_ct_that_is_changed_during_the_run_is_not_replaced(
    an_updating_presenter, a_view, a_logic, a_liver_with_tumor, a_volume
):
    draft = shrinkAndWait(an_updating_presenter, a_view, a_liver_with_tumor, a_volume, 20)
    a_logic.model = "slow"
    shrinkSpleen(a_view.inputs.choices.segmentation, a_liver_with_tumor, a_volume, 18)
    an_updating_presenter.edited()
    rename(draft)
    runToTheEnd(an_updating_presenter)
    assert a_view.results[-1] == (a_view.results[-1][0], draft)
    assert a_view.results[-1][0] is not draft


def test_a_run_that_took_in_the_edit_before_its_pause_is_not_followed_by_another(
    an_updating_presenter, a_view, a_liver_with_tumor, a_volume
):
    """The user presses the button at once after the edit; the pause is noticed when the run is under way."""
    shrinkSpleen(a_view.inputs.choices.segmentation, a_liver_with_tumor, a_volume, 20)
    an_updating_presenter.press()
    an_updating_presenter.edited()
    runToTheEnd(an_updating_presenter)
    assert a_view.state.outcome == "'Case SYNTHETIC CT_1' is ready."
    assert len(a_view.results) == 2


def test_an_undo_that_leaves_nothing_to_do_says_so(an_updating_presenter, a_view):
    an_updating_presenter.edited()
    assert not a_view.state.running
    assert "edit it first" in a_view.state.outcome


def test_cancel_also_forgets_the_edits_that_came_meanwhile(
    an_updating_presenter, a_view, a_logic, a_liver_with_tumor, a_volume
):
    a_logic.model = "slow"
    shrinkSpleen(a_view.inputs.choices.segmentation, a_liver_with_tumor, a_volume, 20)
    an_updating_presenter.edited()
    an_updating_presenter.edited()
    an_updating_presenter.press()
    runToTheEnd(an_updating_presenter)
    assert a_view.state.outcome == "Cancelled; the scene is as it was."
    assert len(a_view.results) == 1


@pytest.mark.parametrize("missing", ["wish", "first press", "first CT"])
def test_nothing_starts_by_itself_without(
    missing, make_presenter, a_view, a_segmentation_with_liver_and_tumor, a_volume
):
    presenter = make_presenter()
    presenter._pressed = missing != "first press"
    before = None if missing == "first CT" else a_volume
    a_view.inputs.setChoices(Choices(a_segmentation_with_liver_and_tumor, before=before, autoUpdate=missing != "wish"))
    presenter.edited()
    assert not a_view.state.running
    assert a_view.state.outcome == ""


# ---- packages


def test_missing_packages_are_asked_for_first(make_presenter, a_view, a_segmentation_with_liver_and_tumor):
    def decline() -> None:
        raise RuntimeError("The installation of Python packages was declined.")

    presenter = make_presenter(ensurePackages=decline)
    a_view.inputs.setChoices(Choices(a_segmentation_with_liver_and_tumor))
    presenter.press()
    assert not a_view.state.running
    assert a_view.state.outcome == "The installation of Python packages was declined."


def test_an_external_python_needs_no_packages_here(
    make_presenter, a_view, a_logic, a_segmentation_with_liver_and_tumor
):
    settings = Settings()
    settings.python, settings.device = "/somewhere/python", "cuda:1"
    presenter = make_presenter(settings, ensurePackages=lambda: pytest.fail("asked"))
    a_view.inputs.setChoices(Choices(a_segmentation_with_liver_and_tumor))
    presenter.press()
    assert a_logic.options["device"] == "cuda:1"
    assert a_view.state.running


def test_closing_the_panel_ends_the_worker_and_removes_its_files(a_presenter, a_logic, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    a_logic.model = "hang"
    a_presenter.press()
    waitUntil(lambda: (a_presenter.poll(), a_logic.worker.hello)[1])
    a_presenter.close()
    assert a_logic.worker.hello is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (None, (None, "Starting")),
        (Progress(1, "load", 0, 1), (None, "Loading the model")),
        (Progress(1, "sample", 12, 30, seconds_left=41.3), (40, "Sampling 12/30, 41 s left")),
        (Progress(1, "sample", 3, 30, seconds_left=2, memory_gb=3.24), (10, "Sampling 3/30, 2 s left, 3.2 GB")),
        (Progress(1, "sample", 0, 30), (0, "Sampling 0/30")),
        (Progress(1, "polish", 3, 4), (75, "polish 3/4")),
    ],
)
def test_progress_in_words(progress, shown):
    assert describeProgress(progress) == shown


def test_a_removed_segmentation_counts_as_not_chosen(a_scene, a_volume):
    from MAISISynthLib.SynthesisChoices import choicesOf

    node = addSegmentation(a_volume)
    parameters = Choices(node, a_volume, seed=5)
    assert choicesOf(parameters) == parameters
    a_scene.RemoveNode(node)
    assert choicesOf(parameters) == Choices(None, a_volume, seed=5)
