"""Real trainings through the module's logic: started, watched, drawn, stopped, resumed, made a model; and SLURM's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
pytest.importorskip("pydantic", reason="the extra 'train' is not installed: run `make setup`")
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from helpers.prepared_folder import an_item, write_prepared
from helpers.processes import waitUntil
from helpers.small_datasets import write_cases
from helpers.tiny_stages import tiny_config, write_random_weights
from maisi.errors import InputError
from maisi.models.variants import variants
from maisi.processes import kill_group, own_group
from maisi.train.prepared import read_items
from maisi.train.slurm import cancel
from MAISILib.Job import JobError
from MAISISynthLib.SingletonNodes import parameterNode
from MAISITrainLib.LossPlots import LossPlots
from MAISITrainLib.PreviewVolumes import PreviewVolumes
from MAISITrainLib.RunWatcher import RunWatcher
from MAISITrainLib.SlurmOptions import SlurmOptions
from MAISITrainLib.TrainingLogic import MAISITrainLogic

ROOT = Path(__file__).parents[2]
MANY = 100_000  # steps: until it is stopped


@pytest.fixture
def a_logic(a_scene) -> MAISITrainLogic:
    return MAISITrainLogic()


@pytest.fixture
def a_config(tmp_path) -> dict:
    """Of a ControlNet of a few weights, on two cases of a few voxels, with one held out."""
    items = [an_item(number, fold=int(number > 0)) for number in range(3)]
    prepared = write_prepared(tmp_path / "prepared", items)
    networks = write_random_weights(tmp_path / "networks", tiny_config("controlnet", prepared), "autoencoder", "unet")
    (networks / "run.json").write_text("{}")
    weights = dict.fromkeys(("autoencoder", "unet"), str(networks))
    values = tiny_config("controlnet", prepared, weights=weights).model_dump(mode="json")
    values["run"] |= {"steps": MANY, "log_every": 1, "validate_every": MANY, "preview_every": MANY}  # and at the end
    return values


@pytest.fixture
def a_run_folder(tmp_path, monkeypatch):
    """For a training; whatever still runs in it is ended."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "a run"
    yield folder
    launcher = RunWatcher(folder).folder.launcher()
    if "pid" in launcher:
        kill_group(launcher["pid"])
    if "job" in launcher:
        cancel(launcher["job"])


APPLICATION = """
import json, sys, time
from MAISISynthLib.CoreScene import startScene
from MAISITrainLib.TrainingLogic import MAISITrainLogic
startScene()
MAISITrainLogic().start(json.loads(sys.argv[1]), sys.argv[2], processes=2)
print("started", flush=True)
time.sleep(600)
"""


def startInAnApplicationThatDies(config: dict, folder: Path) -> None:
    """The application starts a training, and is killed with all processes of its own."""
    paths = os.pathsep.join(str(ROOT / module) for module in ("MAISISynth", "MAISITrain"))
    application = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, json.dumps(config), str(folder)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}, **own_group(),
    )  # fmt: skip
    with application:
        assert application.stdout.readline() == "started\n"
        kill_group(application.pid)


def followUntil(watcher: RunWatcher, step: int, seconds: float = 90) -> None:
    """Poll as a panel does, until so many steps are drawn."""

    def isThere() -> bool:
        watcher.poll()
        view = watcher.view
        assert view is None or not view.status.has_ended, (view.status, view.log)
        return view is not None and view.last().get("step", 0) >= step

    waitUntil(isThere, seconds)


def drawnLosses(watcher: RunWatcher) -> tuple[list[float], list[float]]:
    """Steps and losses that the plots hold after drawing what the watcher saw."""
    plots = LossPlots(slicer.mrmlScene)
    plots.show(watcher.folder.name, watcher.view.rows, "loss")
    table = plots.chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    return tuple(vtk_to_numpy(table.GetColumnByName(name)).tolist() for name in ("step", "raw"))


def writtenLosses(watcher: RunWatcher) -> tuple[list[float], list[float]]:
    """The same, from the lines of metrics.jsonl; lines after the step at which it went on do not count."""
    losses: dict[int, float] = {}
    for line in watcher.folder.metrics.read_text().splitlines():
        row = json.loads(line)
        if row["split"] == "resume":
            losses = {step: loss for step, loss in losses.items() if step <= row["step"]}
        elif row["split"] == "train":
            losses[row["step"]] = row["loss"]
    return list(losses), list(losses.values())


def test_a_training_outlives_the_application_is_stopped_resumed_and_becomes_a_model(a_logic, a_config, a_run_folder):
    startInAnApplicationThatDies(a_config, a_run_folder)
    watcher = a_logic.attach(a_run_folder)
    assert watcher.view.status.state in ("starting", "running")
    followUntil(watcher, 3)
    assert "with 2 processes" in watcher.view.log
    assert drawnLosses(watcher)[0] == list(range(1, 1 + len(drawnLosses(watcher)[0])))
    with pytest.raises(JobError, match="stop it first"):
        a_logic.resume(a_run_folder)
    assert a_logic.stop(a_run_folder) == "It will write a checkpoint and stop."
    status = a_logic.attach(a_run_folder).waitForEnd(60)
    assert status.state == "stopped"

    again = a_logic.resume(a_run_folder, changes={"run.steps": status.step + 4})
    assert again.waitForEnd(90).state == "finished"
    assert again.view.log.count("with 2 processes") == 2, "launched as before"
    drawn, written = drawnLosses(again), writtenLosses(again)
    assert drawn[0] == written[0] == list(range(1, status.step + 5))
    np.testing.assert_allclose(drawn[1], written[1])
    (preview,) = PreviewVolumes(slicer.mrmlScene).show("a run", again.view.previews)
    assert preview.GetName().startswith("a run sample, step ")
    assert slicer.util.arrayFromVolume(preview).shape == (16, 16, 16)

    a_logic.export([a_run_folder], "mine")
    assert "mine" in variants()
    assert parameterNode(slicer.mrmlScene).GetParameter("model") == "mine"


def test_a_job_of_slurm_is_followed_and_stopped(a_logic, a_config, a_run_folder, a_cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(a_cluster))
    watcher = a_logic.start(a_config, a_run_folder, processes=2, launcher="slurm", slurm=SlurmOptions(time="30"))
    assert watcher.view.launcher["kind"] == "slurm"
    followUntil(watcher, 4, 120)
    assert "with 2 processes" in watcher.view.log
    first = drawnLosses(watcher)
    followUntil(watcher, len(first[0]) + 3)
    second = drawnLosses(watcher)
    assert second[0][: len(first[0])] == first[0], "the curve grows"
    np.testing.assert_allclose(second[1], writtenLosses(watcher)[1][: len(second[1])])
    a_logic.stop(a_run_folder)
    assert watcher.waitForEnd(60).state == "stopped"


def test_mistakes_come_back_before_anything_is_started(a_logic, a_config, tmp_path):
    with pytest.raises(JobError, match=r"there is no key run\.step"):
        a_logic.start(a_config, tmp_path / "run", changes={"run.step": 3})
    with pytest.raises(JobError, match="no such preset"):
        a_logic.start("nowhere", tmp_path / "run")
    with pytest.raises(InputError, match="There is no launcher 'cloud'"):
        a_logic.start(a_config, tmp_path / "run", launcher="cloud")
    with pytest.raises(InputError, match="is no time of SLURM"):
        a_logic.start(a_config, tmp_path / "run", launcher="slurm", slurm=SlurmOptions(time="soon"))
    with pytest.raises(InputError, match="There is no training in"):
        a_logic.attach(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_data_set_is_looked_at_and_prepared(a_logic, tmp_path):
    data = write_cases(tmp_path / "data", 2)
    (data / "case1/ct.nii.gz").write_bytes(b"nothing")
    small = {"multiple": 16, "min_slices": 8, "copies": "none"}
    report = a_logic.check(data, tmp_path / "prepared", **small)
    assert report.summary == "1 of 2 cases can be used."
    ((case, used, problem, text),) = report.rows
    assert (case, used, problem) == ("case1", "no", "cannot be read")
    assert "ct.nii.gz" in text
    a_logic.prepare(data, tmp_path / "prepared", **small, spacing=(2.0, 2.0, 3.0), map=["couch=ignore"])
    assert len(read_items(tmp_path / "prepared")) == 1
    with pytest.raises(JobError, match="There is no folder"):
        a_logic.prepare(tmp_path / "absent", tmp_path / "other")
