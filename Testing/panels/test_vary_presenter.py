"""The presenter of series with a fake view, and jobs that only pretend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.slicer_core import slicer
from maisi.errors import InputError
from maisi.protocol import Progress
from maisi.vary.folder import Status
from maisi.vary.series import SeriesRequest, plan_series
from MAISILib.Settings import Settings
from MAISISynthLib.SynthesisChoices import Choices
from MAISISynthLib.VaryChoices import VaryChoices
from MAISISynthLib.VaryPresenter import VaryPresenter, describePlan


class FakeView:
    def showVary(self, state):
        self.state = state


class FakeJob:
    """Runs until the test says how it ends."""

    def __init__(self):
        self.state, self.error, self.progress, self.status = "running", "", None, Status(0, 0, {})

    @property
    def done(self):
        return self.state != "running"

    def poll(self):
        return True

    def cancel(self):
        self.state = "cancelled"


class FakeLogic:
    def __init__(self, labels):
        self.labels, self.started, self.error = labels, [], None

    def plan(self, segmentationNode, volumeNode, **settings):
        wanted = {name: value for name, value in settings.items() if name in SeriesRequest.__dataclass_fields__}
        return plan_series(self.labels, SeriesRequest(**wanted))

    def start(self, segmentationNode, folder, volumeNode, processes, **settings):
        if self.error:
            raise self.error
        self.started.append((folder, processes, settings))
        self.job = FakeJob()
        return self.job


@pytest.fixture
def logic(a_liver_with_tumor):
    return FakeLogic(a_liver_with_tumor)


@pytest.fixture
def view():
    return FakeView()


@pytest.fixture
def settings():
    return Settings()


@pytest.fixture
def choices(a_scene):
    of = Choices(slicer.vtkMRMLSegmentationNode(), seed=7, model="rflow-ct", steps=9)
    return VaryChoices(of, folder="/data/Dataset501_Liver", cases=4, organs="liver")


@pytest.fixture
def presenter(view, logic, settings, choices):
    made = VaryPresenter(view, logic, settings, ensurePackages=lambda: None)
    made.setChoices(choices)
    return made


def test_a_segmentation_and_a_folder_are_asked_for(presenter, view, choices):
    presenter.setChoices(replace(choices, synthesis=Choices(), folder=""))
    assert (view.state.buttonEnabled, view.state.planEnabled) == (False, False)
    assert view.state.status == "Choose a segmentation."
    presenter.setChoices(replace(choices, folder=""))
    assert (view.state.buttonEnabled, view.state.planEnabled) == (False, True)
    assert view.state.status == "Choose a folder for the series."


def test_the_plan_can_be_seen_first(presenter, view, logic, choices):
    presenter.preview()
    assert view.state.status.startswith("4 cases, 2 with a lesion: hepatic tumor; 20 to 35 mm")
    presenter.setChoices(choices)
    assert view.state.status.startswith("4 cases"), "nothing else was chosen"
    presenter.setChoices(replace(choices, sizes="10, 20mm"))
    assert view.state.status == "", "that plan is out of date"
    presenter.preview()
    assert "10 to 20 mm" in view.state.status
    assert logic.started == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cases": 0}, "from 1 to 100000"),
        ({"sizes": "10, large"}, "'large' is no size: write millimeters between commas"),
        ({"organs": "elbow"}, "no organ called 'elbow'"),
    ],
)
def test_what_cannot_be_planned_is_told(presenter, view, logic, choices, change, sentence):
    presenter.setChoices(replace(choices, **change))
    presenter.preview()
    assert sentence in view.state.status
    if "sizes" in change:
        presenter.press()
        assert sentence in view.state.status
    assert logic.started == []


def test_another_machine_makes_no_series(presenter, view, logic, settings, choices):
    settings.remoteHost, settings.device = "gpu1", "cuda:3"
    presenter.update()
    assert view.state.status == "The series is made on this computer, not on gpu1."
    presenter.press()
    assert logic.started[0][2]["device"] == "auto", "that is a device of the other machine"


def test_lesions_that_do_not_fit_are_told(a_liver_with_tumor):
    assert "do not fit" not in describePlan(plan_series(a_liver_with_tumor, SeriesRequest(2, sizes_mm=(8,))))
    assert "1 do not fit" in describePlan(plan_series(a_liver_with_tumor, SeriesRequest(2, sizes_mm=(80,))))


def test_a_series_runs_to_its_end(presenter, view, logic):
    presenter.press()
    (started,) = logic.started
    assert started[:2] == ("/data/Dataset501_Liver", 1)
    assert started[2] == {
        "device": "auto", "cases": 4, "organs": ["liver"], "sizes_mm": [], "shapes": 2, "places": None,
        "seed": 7, "model": "rflow-ct", "steps": 9, "solver": None,
    }  # fmt: skip
    assert (view.state.running, view.state.percent, view.state.inputsEnabled) == (True, None, False)
    logic.job.progress = Progress(0, "cases", 1, 4)
    presenter.poll()
    assert (view.state.percent, view.state.status, view.state.buttonText) == (25, "1 of 4 cases", "Cancel")
    logic.job.state, logic.job.status = "done", Status(4, 4, {})
    presenter.poll()
    assert (view.state.running, view.state.status) == (False, "4 of 4 cases are complete in Dataset501_Liver.")
    assert (view.state.buttonEnabled, view.state.inputsEnabled) == (True, True)


def test_cancel_tells_that_it_can_go_on(presenter, view, logic):
    presenter.press()
    logic.job.status = Status(4, 1, {})
    presenter.press()
    assert logic.job.state == "cancelled"
    assert view.state.status.startswith("Cancelled. 1 of 4 cases are complete")
    presenter.press()
    assert len(logic.started) == 2


def test_failed_cases_are_named(presenter, view, logic):
    presenter.press()
    logic.job.state, logic.job.error = "failed", "1 cases are missing."
    logic.job.status = Status(4, 3, {"vary_0002": "Too hard."})
    presenter.poll()
    assert view.state.status == "1 cases are missing.\nvary_0002: Too hard."


@pytest.mark.parametrize("error", [InputError("Bad."), RuntimeError("Bad.")])
def test_what_cannot_start_is_told(presenter, view, logic, error):
    logic.error = error
    presenter.press()
    assert (view.state.status, view.state.running) == ("Bad.", False)


def test_nothing_goes_on_after_the_panel(presenter, logic):
    presenter.press()
    presenter.close()
    assert logic.job.state == "cancelled"
