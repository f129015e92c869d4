"""The runs of a scene, read back from what the CTs carry."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.fake_worker import fakeWorker
from helpers.slicer_core import addVolume, contents
from maisi.errors import InputError
from maisi.options import Options
from maisi.volume import ImageVolume
from MAISILib.Worker import Worker
from MAISISynthLib.History import delete, previous, runs
from MAISISynthLib.NodeGrid import Grid
from MAISISynthLib.SceneIO import addSynthetic, noteOrigin
from MAISISynthLib.SynthesisChoices import Solver
from MAISISynthLib.SynthesisLogic import MAISISynthLogic


@pytest.fixture
def add_run(a_scene, a_liver_with_tumor):
    """Add a CT as a finished job does."""

    def add(name: str, edit: bool = False, **options):
        request = {**Options(**options).to_json(), "edit": edit}
        attributes = {"MAISI.Request": json.dumps(request), "MAISI.Info": json.dumps({"seconds": 12.3, "steps": 8})}
        labels = a_liver_with_tumor
        image = ImageVolume(labels.array.astype(np.int16), labels.affine)
        return addSynthetic(a_scene, image, labels, Grid(labels.shape, labels.affine, labels.affine), name, attributes)

    return add


@pytest.fixture
def a_history(add_run):
    """A CT and a change of it."""
    first, second = (
        add_run("First", seed=5, steps=9, solver="heun"),
        add_run("Second", edit=True, seed=5, method="full"),
    )
    noteOrigin(second, first)
    return first, second


def test_a_real_run_is_in_the_history(a_scene, a_segmentation_with_liver_and_tumor):
    logic = MAISISynthLogic(Worker(arguments=fakeWorker()))
    volume = logic.synthesize(a_segmentation_with_liver_and_tumor, seed=7, steps=3)
    logic.worker.close()
    (run,) = runs(a_scene)
    assert run.volumeNode is volume
    assert (run.choices()["seed"], run.choices()["steps"], run.kind, run.seconds) == (7, 3, "whole", 0.1)


def test_runs_are_the_synthetic_cts_in_order(a_scene, a_history):
    first, second = runs(a_scene)
    assert [run.volumeNode for run in (first, second)] == list(a_history)
    assert (first.kind, second.kind) == ("whole", "change of First")
    assert first.before is None
    assert second.before is first.volumeNode
    assert second.request["seed"] == 5


def test_a_run_tells_what_would_make_it_again(a_scene, a_history):
    first, second = runs(a_scene)
    assert first.choices() == {
        "before": None, "seed": 5, "model": "embedded", "steps": 9, "solver": Solver.HEUN, "whole": False,
    }  # fmt: skip
    assert second.choices() == {
        "before": a_history[0], "seed": 5, "model": "embedded", "steps": 0, "solver": Solver.DEFAULT, "whole": True,
    }  # fmt: skip


def test_history_survives_saving(a_scene, a_history, tmp_path):
    a_scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    a_scene.Clear(0)
    assert runs(a_scene) == []
    a_scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    first, second = runs(a_scene)
    assert (first.volumeNode.GetName(), second.before) == ("First", first.volumeNode)


@pytest.mark.parametrize("text", ["not JSON", "[1, 2]"])
def test_attributes_that_were_damaged_leave_gaps_only(a_scene, a_history, text):
    for attribute in ("MAISI.Request", "MAISI.Info"):
        a_history[0].SetAttribute(attribute, text)
    run = runs(a_scene)[0]
    assert (run.seconds, run.kind) == (None, "whole")
    assert run.choices()["model"] == "embedded"


def test_previous_is_what_it_was_changed_from_else_the_run_before(a_history, add_run):
    first, second = a_history
    third = add_run("Third", seed=6)
    assert previous(first) is None
    assert previous(second) is first
    assert previous(third) is second
    second.SetAndObserveImageData(None)
    assert previous(third) is first, "without an image there is nothing to compare"


def test_delete_removes_the_ct_and_its_labels_and_nothing_else(a_scene, a_history):
    first, second = runs(a_scene)
    before = contents(a_scene)
    gone = {second.volumeNode.GetID(), second.volumeNode.GetNodeReferenceID("MAISI.Labels")}
    delete(second)
    assert contents(a_scene) == {node: time for node, time in before.items() if node not in gone}
    assert [run.volumeNode for run in runs(a_scene)] == [first.volumeNode]
    with pytest.raises(InputError, match="no longer in the scene"):
        delete(second)


def test_labels_that_another_ct_needs_stay(a_scene, a_history):
    first, second = runs(a_scene)
    labels = first.volumeNode.GetNodeReferenceID("MAISI.Labels")
    second.volumeNode.SetNodeReferenceID("MAISI.Labels", labels)
    delete(first)
    assert a_scene.GetNodeByID(labels) is not None
    assert runs(a_scene)[0].before is None, "and its change has lost what it was made from"
    assert runs(a_scene)[0].kind == "change"


def test_a_plain_volume_is_no_run(a_scene):
    addVolume(np.zeros((4, 4, 4), np.int16), np.eye(4))
    assert runs(a_scene) == []
