"""What the section "Inputs" would say, without a panel."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

from helpers.slicer_core import addSegment, addSegmentation, addVolume
from maisi.errors import InputError
from MAISILib.Settings import Settings
from MAISISynthLib.InputPresenter import InputPresenter, InputState
from MAISISynthLib.SynthesisChoices import Choices, Solver


class FakeView:
    def showInput(self, state: InputState) -> None:
        self.state = state


@dataclass
class FakeEstimate:
    """Done at the second poll."""

    error: str = ""
    refused: bool = False
    edit: bool = False
    cancelled: bool = False
    memoryGb: float = 3.14
    seconds: float = 41.2
    polls: int = 0

    @property
    def done(self) -> bool:
        return self.polls >= 2

    def poll(self) -> bool:
        self.polls += 1
        return self.done

    def cancel(self) -> None:
        self.cancelled = True


class EstimatingLogic:
    def __init__(self, *estimates) -> None:
        self.estimates, self.asked = list(estimates), []

    def estimate(self, segmentationNode, **options):
        self.asked.append(options)
        estimate = self.estimates.pop(0) if self.estimates else FakeEstimate()
        if isinstance(estimate, Exception):
            raise estimate
        return estimate


def presenterFor(logic, segmentation) -> tuple[InputPresenter, FakeView]:
    view = FakeView()
    presenter = InputPresenter(view, logic, Settings())
    presenter.setChoices(Choices(segmentation))
    return presenter, view


def test_without_a_segmentation_it_says_what_to_do(a_scene):
    presenter, view = presenterFor(EstimatingLogic(), None)
    assert view.state.status == "Choose a segmentation."
    assert not presenter.busy


def test_a_usable_segmentation_is_summed_up(a_segmentation_with_liver_and_tumor):
    _presenter, view = presenterFor(EstimatingLogic(), a_segmentation_with_liver_and_tumor)
    assert view.state.status.startswith("Liver, spleen and 1 lesion, 3 of 3 segments recognized; ")


def test_the_spacing_of_the_model_is_told_where_it_differs(a_scene):
    affine = np.diag([0.8, 0.9, 3.0, 1.0])
    grid = addVolume(np.zeros((90, 80, 20), np.int16), affine)
    node = addSegmentation(grid)
    addSegment(node, np.ones((90, 80, 20), bool), grid, "Liver")
    _presenter, view = presenterFor(EstimatingLogic(), node)
    assert view.state.status.endswith("1 of 1 segments recognized; 0.8 x 0.9 x 3.0 mm -> 2.0 x 2.0 x 3.0 mm")
    assert "the result is resampled back to your grid" in view.state.notices[0]


def test_a_turned_grid_tells_the_models_spacing_along_its_own_axes(a_scene):
    turned = np.array([[0, -0.8, 0, 0], [0, 0, 0.9, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = addVolume(np.zeros((20, 90, 80), np.int16), turned)
    node = addSegmentation(grid)
    addSegment(node, np.ones((20, 90, 80), bool), grid, "Liver")
    _presenter, view = presenterFor(EstimatingLogic(), node)
    assert view.state.status.endswith("; 3.0 x 0.8 x 0.9 mm -> 3.0 x 2.0 x 2.0 mm")


def test_a_field_of_view_that_no_model_can_use_is_told_before_a_run(a_scene):
    grid = addVolume(np.zeros((9, 9, 9), np.int16), np.eye(4))
    node = addSegmentation(grid)
    addSegment(node, np.ones((9, 9, 9), bool), grid, "Liver")
    presenter, view = presenterFor(EstimatingLogic(), node)
    assert "at least 32 mm are needed along every axis" in view.state.status
    assert not presenter.check.isValid()[0]


def test_an_unknown_model_of_an_old_scene_is_told(a_segmentation_with_liver_and_tumor):
    presenter, view = presenterFor(EstimatingLogic(), a_segmentation_with_liver_and_tumor)
    presenter.setChoices(replace(presenter.choices, model="gone"))
    assert view.state.status.startswith("There is no model called 'gone'; available: ")


def changing(presenter, volume, model: str) -> None:
    """The user chose a CT that was made with a model."""
    volume.SetAttribute("MAISI.Synthetic", "1")
    volume.SetAttribute("MAISI.Request", json.dumps({"seed": 5, "model": model}))
    presenter.setChoices(replace(presenter.choices, before=volume, model="rflow-ct"))


def test_a_ct_is_changed_with_its_own_model(a_segmentation_with_liver_and_tumor, a_volume):
    presenter, view = presenterFor(EstimatingLogic(), a_segmentation_with_liver_and_tumor)
    changing(presenter, a_volume, "embedded")
    assert view.state.notices[0] == "The change is made with the seed and the model (embedded) of 'CT'."
    assert not view.state.seedEnabled


def test_a_ct_of_a_model_that_is_not_here_is_told(a_segmentation_with_liver_and_tumor, a_volume, monkeypatch, tmp_path):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    presenter, view = presenterFor(EstimatingLogic(), a_segmentation_with_liver_and_tumor)
    changing(presenter, a_volume, "ddpm-ct")
    assert (
        "The weights of the model ddpm-ct are not on this computer; see Models and environment." in view.state.notices
    )
    changing(presenter, a_volume, "gone")
    assert view.state.status.startswith("There is no model called 'gone'")
    assert not presenter.check.isValid()[0]


def test_weights_of_another_machine_are_not_looked_for_here(a_segmentation_with_liver_and_tumor, monkeypatch, tmp_path):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    settings, view = Settings(), FakeView()
    settings.remoteHost = "gpu1"
    InputPresenter(view, EstimatingLogic(), settings).setChoices(
        Choices(a_segmentation_with_liver_and_tumor, model="ddpm-ct")
    )
    assert not any("weights" in notice for notice in view.state.notices)


def test_without_nibabel_the_rest_is_still_said(a_segmentation_with_liver_and_tumor, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel.orientations", None)
    _presenter, view = presenterFor(EstimatingLogic(), a_segmentation_with_liver_and_tumor)
    assert "3 of 3 segments recognized" in view.state.status
    assert "->" not in view.state.status


def test_the_sentence_follows_the_edits(a_segmentation_with_liver_and_tumor):
    presenter, view = presenterFor(EstimatingLogic(), a_segmentation_with_liver_and_tumor)
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "Aorta")
    presenter.update()
    assert view.state.status.startswith("3 organs and 1 lesion, 4 of 4 segments recognized")
    a_segmentation_with_liver_and_tumor.GetSegmentation().RemoveAllSegments()
    presenter.update()
    assert not presenter.check.isValid()[0]


# ---- the estimate


def test_the_estimate_is_told_once_it_is_there(a_segmentation_with_liver_and_tumor):
    presenter, view = presenterFor(EstimatingLogic(FakeEstimate()), a_segmentation_with_liver_and_tumor)
    assert "about" not in view.state.status
    while presenter.busy:
        presenter.poll()
    assert view.state.status.endswith("; about 41 s, 3.1 GB")


def test_the_estimate_is_asked_for_once_for_each_set_of_options(a_segmentation_with_liver_and_tumor):
    logic = EstimatingLogic(FakeEstimate(), FakeEstimate())
    presenter, _view = presenterFor(logic, a_segmentation_with_liver_and_tumor)
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "Aorta")
    presenter.update()
    assert len(logic.asked) == 1, "segments do not matter"
    presenter.setChoices(replace(presenter.choices, solver=Solver.HEUN, steps=9))
    assert (logic.asked[1]["solver"], logic.asked[1]["steps"], logic.asked[1]["device"]) == ("heun", 9, "auto")


def test_the_estimate_of_a_change_says_so_and_is_asked_again_after_a_run(a_segmentation_with_liver_and_tumor, a_volume):
    asking = EstimatingLogic(FakeEstimate(), FakeEstimate(edit=True, seconds=0.2), FakeEstimate(edit=True, seconds=2.4))
    presenter, view = presenterFor(asking, a_segmentation_with_liver_and_tumor)
    changing(presenter, a_volume, "embedded")
    while presenter.busy:
        presenter.poll()
    assert view.state.status.endswith("; a change: about 1 s, 3.1 GB")
    presenter.estimateAgain()
    while presenter.busy:
        presenter.poll()
    assert view.state.status.endswith("; a change: about 2 s, 3.1 GB")


def test_an_estimate_of_something_else_is_cancelled(a_segmentation_with_liver_and_tumor):
    first, second = FakeEstimate(), FakeEstimate()
    presenter, _view = presenterFor(EstimatingLogic(first, second), a_segmentation_with_liver_and_tumor)
    presenter.setChoices(replace(presenter.choices, steps=9))
    assert (first.cancelled, second.cancelled) == (True, False)
    presenter.setChoices(Choices())
    assert second.cancelled
    assert not presenter.busy


def test_a_job_that_would_be_refused_says_why_and_may_be_tried(a_segmentation_with_liver_and_tumor):
    refusal = FakeEstimate(error="It needs about 40 GB; crop it.", refused=True, seconds=None)
    presenter, view = presenterFor(EstimatingLogic(refusal), a_segmentation_with_liver_and_tumor)
    while presenter.busy:
        presenter.poll()
    assert view.state.notices[0] == "It needs about 40 GB; crop it."
    assert view.state.status.startswith("Liver, spleen and 1 lesion")
    assert presenter.check.isValid()[0], "memory may be free by then"


@pytest.mark.parametrize(
    "estimate", [FakeEstimate(error="The worker ended unexpectedly.", seconds=None), InputError("No device.")]
)
def test_an_estimate_that_fails_is_left_out(a_segmentation_with_liver_and_tumor, estimate):
    presenter, view = presenterFor(EstimatingLogic(estimate), a_segmentation_with_liver_and_tumor)
    while presenter.busy:
        presenter.poll()
    assert view.state.status.startswith("Liver, spleen and 1 lesion")
    assert "about" not in view.state.status
