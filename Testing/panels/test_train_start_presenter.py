"""What the section "Training" of MAISITrain would show, without a panel."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from helpers.train_panel import presenterOf, saying, toTheEnd
from MAISITrainLib.StartPresenter import StartPresenter

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
    return presenterOf(StartPresenter, a_panel)


def loadForm(presenter: StartPresenter, panel: SimpleNamespace) -> None:
    panel.logic.answers = [saying(json.dumps(VALUES, indent=1)), saying(json.dumps(SCHEMA))]
    presenter.choosePreset(PRESET)
    toTheEnd(presenter)
    panel.logic.asked.clear()


def test_nothing_starts_by_itself(a_start_presenter, a_panel):
    assert not a_start_presenter.busy
    assert a_panel.asked == a_panel.logic.asked == []


def test_a_preset_becomes_a_form(a_start_presenter, a_panel):
    assert {PRESET, "controlnet"} <= set(a_panel.view.state.presets)
    assert a_panel.view.state.title == "Choose what to train."
    a_panel.logic.answers = [saying(json.dumps(VALUES)), saying(json.dumps(SCHEMA))]
    a_start_presenter.choosePreset(PRESET)
    assert (a_panel.view.state.message, a_panel.view.state.startEnabled) == ("Loading the form", False)
    toTheEnd(a_start_presenter)
    assert a_panel.logic.asked == [
        ("showCommand", PRESET, {"data.prepared": "."}),
        ("schemaCommand", "diffusion"),
    ]
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
    assert (a_panel.view.state.message, a_panel.view.state.startEnabled) == (
        "Process 7 trains in run",
        True,
    )


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


def test_it_is_told_where_trainings_run(a_start_presenter, a_panel):
    assert a_panel.view.state.message == ""
    a_panel.machine.remoteHost = "gpu1"
    a_start_presenter.update()
    assert a_panel.view.state.message.startswith("Trainings run on this computer, not on gpu1.")


def test_packages_are_asked_for_before_a_form_is_loaded(a_panel):
    def decline() -> None:
        raise RuntimeError("The installation of Python packages was declined.")

    presenter = StartPresenter(a_panel.view, a_panel.logic, a_panel.settings, a_panel.machine, decline)
    presenter.choosePreset(PRESET)
    assert (a_panel.view.state.message, a_panel.logic.asked) == (
        "The installation of Python packages was declined.",
        [],
    )
    a_panel.machine.remoteHost = "gpu1"
    presenter.choosePreset(PRESET)
    assert a_panel.logic.asked == [], "trainings run here"
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
