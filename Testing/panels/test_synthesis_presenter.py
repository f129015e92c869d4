"""What the panel would show, without a panel."""

from __future__ import annotations

import pytest

from helpers.fake_worker import fakeWorker
from helpers.processes import waitUntil
from helpers.slicer_core import addSegmentation, contents
from maisi.protocol import Progress
from MAISILib.Settings import Settings
from MAISILib.Worker import Worker
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPresenter import PanelState, SynthesisPresenter, describeProgress


class FakeView:
    """Remembers what it was told to show."""

    def __init__(self) -> None:
        self.states: list[PanelState] = []
        self.volumes = []

    @property
    def state(self) -> PanelState:
        return self.states[-1]

    def show(self, state: PanelState) -> None:
        self.states.append(state)

    def showVolume(self, volumeNode) -> None:
        self.volumes.append(volumeNode)


class AsModel:
    """A logic that always asks for one model, which for the fake worker is a way to misbehave."""

    def __init__(self, logic: MAISISynthLogic) -> None:
        self.logic, self.model, self.worker = logic, "well", logic.worker

    def startSynthesis(self, segmentationNode, **options):
        self.options = options
        return self.logic.startSynthesis(segmentationNode, model=self.model, **options)


@pytest.fixture
def a_logic():
    logic = MAISISynthLogic(Worker(arguments=fakeWorker(), cancelTimeout=0.5))
    yield AsModel(logic)
    logic.worker.close()


@pytest.fixture
def a_view():
    return FakeView()


@pytest.fixture
def a_presenter(a_view, a_logic):
    return SynthesisPresenter(a_view, a_logic, Settings(), ensurePackages=lambda: None)


@pytest.fixture
def a_ready_presenter(a_presenter, a_segmentation_with_liver_and_tumor):
    a_presenter.setInputs(a_segmentation_with_liver_and_tumor, None)
    return a_presenter


def runToTheEnd(presenter, view) -> None:
    waitUntil(lambda: (presenter.poll(), not view.state.running)[1])


def test_without_a_segmentation_the_button_waits(a_presenter, a_view):
    a_presenter.setInputs(None, None)
    assert (a_view.state.buttonEnabled, a_view.state.status) == (False, "Choose a segmentation.")


def test_a_usable_segmentation_enables_the_button_and_is_summed_up(a_ready_presenter, a_view):
    assert a_view.state.buttonEnabled
    assert a_view.state.buttonText == "Synthesize"
    assert a_view.state.status.startswith("Liver, spleen and 1 lesion, 3 of 3 segments recognized; ")


def test_the_sentence_follows_the_edits(a_ready_presenter, a_view, a_segmentation_with_liver_and_tumor):
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "Aorta")
    a_ready_presenter.update()
    assert a_view.state.status.startswith("3 organs and 1 lesion, 4 of 4 segments recognized")
    a_segmentation_with_liver_and_tumor.GetSegmentation().RemoveAllSegments()
    a_ready_presenter.update()
    assert not a_view.state.buttonEnabled


def test_a_run_from_start_to_result(a_ready_presenter, a_view, a_logic):
    a_logic.model = "slow"
    a_ready_presenter.press(seed=3)
    assert (a_view.state.running, a_view.state.buttonText, a_view.state.inputsEnabled) == (True, "Cancel", False)
    assert (a_view.state.percent, a_view.state.progressText) == (None, "Starting")
    waitUntil(lambda: (a_ready_presenter.poll(), a_view.state.percent)[1])
    assert a_view.state.progressText.startswith("Sampling ")
    runToTheEnd(a_ready_presenter, a_view)
    assert (a_view.state.buttonText, a_view.state.inputsEnabled) == ("Synthesize", True)
    assert a_view.state.status == "'Case SYNTHETIC CT' is ready."
    assert [volume.GetName() for volume in a_view.volumes] == ["Case SYNTHETIC CT"]


def test_notices_stand_under_the_result(a_ready_presenter, a_view, a_segmentation_with_liver_and_tumor):
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "puzzle")
    a_ready_presenter.press(seed=0)
    runToTheEnd(a_ready_presenter, a_view)
    assert "Not recognized and left out: 'puzzle'" in a_view.state.status


def test_the_same_button_cancels(a_ready_presenter, a_view, a_logic, a_scene):
    before = contents(a_scene)
    a_logic.model = "slow"
    a_ready_presenter.press(seed=0)
    a_ready_presenter.press(seed=0)
    runToTheEnd(a_ready_presenter, a_view)
    assert a_view.state.status == "Cancelled; the scene is as it was."
    assert a_view.volumes == []
    assert contents(a_scene) == before


def test_a_crash_opens_the_log(a_ready_presenter, a_view, a_logic):
    a_logic.model = "crash"
    a_ready_presenter.press(seed=0)
    runToTheEnd(a_ready_presenter, a_view)
    assert "ended unexpectedly" in a_view.state.status
    assert "\n" not in a_view.state.status
    assert a_view.state.logOpened
    assert "no kernel image" in a_view.state.log
    assert a_view.state.buttonEnabled, "one can try again"


def test_a_new_choice_clears_the_outcome(a_ready_presenter, a_view, a_volume):
    a_ready_presenter.press(seed=0)
    runToTheEnd(a_ready_presenter, a_view)
    a_ready_presenter.setInputs(addSegmentation(a_volume, "Other"), None)
    assert a_view.state.status == "'Other' has no segments: draw or load organs first."


def test_an_edit_is_announced_and_refused_where_nothing_changed(
    a_ready_presenter, a_view, a_logic, a_segmentation_with_liver_and_tumor
):
    a_ready_presenter.press(seed=0)
    runToTheEnd(a_ready_presenter, a_view)
    a_ready_presenter.setInputs(a_segmentation_with_liver_and_tumor, a_view.volumes[0])
    assert a_view.state.buttonText == "Synthesize the change"
    assert not a_view.state.seedEnabled, "an edit needs the noise of the CT it changes"
    a_ready_presenter.press(seed=99)
    assert a_logic.options["seed"] is None, "that of the CT"
    assert not a_view.state.running
    assert "edit it first" in a_view.state.status


def test_missing_packages_are_asked_for_first(a_view, a_logic, a_segmentation_with_liver_and_tumor):
    def decline() -> None:
        raise RuntimeError("The installation of Python packages was declined.")

    presenter = SynthesisPresenter(a_view, a_logic, Settings(), ensurePackages=decline)
    presenter.setInputs(a_segmentation_with_liver_and_tumor, None)
    presenter.press(seed=0)
    assert not a_view.state.running
    assert a_view.state.status == "The installation of Python packages was declined."


def test_an_external_python_needs_no_packages_here(a_view, a_logic, a_segmentation_with_liver_and_tumor):
    settings = Settings()
    settings.python, settings.device = "/somewhere/python", "cuda:1"
    presenter = SynthesisPresenter(a_view, a_logic, settings, ensurePackages=lambda: pytest.fail("asked"))
    presenter.setInputs(a_segmentation_with_liver_and_tumor, None)
    presenter.press(seed=0)
    assert a_logic.options["device"] == "cuda:1"
    assert a_view.state.running


def test_closing_the_panel_ends_the_worker_and_removes_its_files(
    a_ready_presenter, a_view, a_logic, monkeypatch, tmp_path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    a_logic.model = "hang"
    a_ready_presenter.press(seed=0)
    waitUntil(lambda: (a_ready_presenter.poll(), a_logic.worker.hello)[1])
    a_ready_presenter.close()
    assert a_logic.worker.hello is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (None, (None, "Starting")),
        (Progress(1, "load", 0, 1), (None, "Loading the model")),
        (Progress(1, "sample", 12, 30, seconds_left=41.3), (40, "Sampling 12/30, 41 s left")),
        (Progress(1, "sample", 0, 30), (0, "Sampling 0/30")),
        (Progress(1, "polish", 3, 4), (75, "polish 3/4")),
    ],
)
def test_progress_in_words(progress, shown):
    assert describeProgress(progress) == shown
