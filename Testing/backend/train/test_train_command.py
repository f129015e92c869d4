"""``maisi train``, ``runs`` and ``stop`` as people use them."""

from __future__ import annotations

import json
import os
import time

import pytest
import yaml

from helpers.command_line import refused, run_maisi
from helpers.training import wait_for_end
from maisi import cli
from maisi.durations import duration
from maisi.train.metrics import append_row
from maisi.train.presets import presets
from maisi.train.run_folder import RunFolder, Status


@pytest.fixture
def a_config(tmp_path):
    """Of a training whose data are not there."""
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"preset": "diffusion-stage3", "data": {"prepared": str(tmp_path / "nothing")}}))
    return str(file)


def a_run(folder, name: str, **status) -> RunFolder:
    run = RunFolder(folder / name)
    run.create({"config": {"stage": "controlnet"}})
    run.write_launcher("local", pid=os.getpid())
    run.write_status(Status(time=time.time() + 1, **status))
    return run


def test_a_training_is_left_to_itself_and_tells_why_it_failed(a_config, tmp_path, capsys):
    """The command ends at once; what the processes miss stands in the run folder."""
    run = RunFolder(tmp_path / "run")
    started = run_maisi("train", a_config, "--run", str(run.path), "--nproc", "2", "--set", "run.device=cpu")
    assert started.returncode == 0, started.stderr
    assert f"trains in {run.path}; see: maisi runs" in started.stdout
    assert run.facts()["config"]["run"]["device"] == "cpu"
    assert {"maisi", "python", "torch"} <= run.facts()["versions"].keys()
    assert wait_for_end(run).state == "failed"
    assert "nothing is not a prepared data set; run: maisi prepare" in run.status().sentence
    assert cli.main(["runs", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "diffusion  failed" in said.out
    assert run.status().sentence in said.err
    assert "has ended already (failed)" in refused(capsys, "stop", str(run.path))


def test_a_training_in_this_process_fails_with_the_sentence(a_config, tmp_path):
    failed = run_maisi(
        "train", a_config, "--run", str(tmp_path / "run"), "--launcher", "here", "--set", "run.device=cpu"
    )
    assert failed.returncode == 2
    assert "is not a prepared data set" in failed.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Give a configuration and --run DIR"),
        (("CONFIG",), "Give a configuration and --run DIR"),
        (("CONFIG", "--run", "RUN", "--resume"), "Give a configuration and --run DIR, or --run DIR --resume"),
        (("--run", "RUN", "--resume"), "There is no training in"),
        (("CONFIG", "--run", "RUN", "--nproc", "0"), "0 processes on 1 machines cannot be started"),
        (("CONFIG", "--run", "RUN", "--nnodes", "2"), "Several machines need a place to meet"),
        (("CONFIG", "--run", "RUN", "--set", "run.step=3"), "there is no key run.step"),
        (("CONFIG", "--run", "RUN", "--nproc", "2", "--launcher", "here"), "--launcher here is this process alone"),
        (("nowhere", "--run", "RUN"), "no such preset; presets: autoencoder-128"),
        (("schema", "gan"), "There is no stage 'gan' to train"),
        (("show", "controlnet"), "controlnet: data.prepared is missing"),
        (("export", "RUN", "--name", "mine"), "is no run with weights"),
        (("export", "RUN"), "Give at least one run, and --name NAME"),
    ],
)
def test_mistakes_are_told(capsys, tmp_path, a_config, arguments, sentence):
    filled = [{"CONFIG": a_config, "RUN": str(tmp_path / "run")}.get(word, word) for word in arguments]
    assert sentence in refused(capsys, "train", *filled)


def test_the_command_for_other_schedulers_is_printed(a_config, tmp_path, capsys):
    run = RunFolder(tmp_path / "run")
    assert cli.main(["train", a_config, "--run", str(run.path), "--nproc", "4", "--launcher", "none"]) == 0
    command = capsys.readouterr().out
    assert command.startswith("env TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 ")
    assert "-m torch.distributed.run --nnodes=1 --nproc-per-node=4" in command
    assert command.endswith(f"-m maisi.train.rank {run.path}\n")
    assert run.status().state == "starting"


def test_a_training_that_runs_is_not_started_twice(capsys, tmp_path, a_config):
    run = a_run(tmp_path, "run", state="running")
    assert "is running; stop it first: maisi stop" in refused(capsys, "train", "--run", str(run.path), "--resume")
    assert "already; go on with it (--resume)" in refused(capsys, "train", a_config, "--run", str(run.path))


def test_trainings_are_listed(capsys, tmp_path):
    best = {"best": 0.5, "best_step": 100}
    place = {"step": 120, "steps": 1000, "epoch": 3.25, "seconds_left": 7260.0}
    run = a_run(tmp_path, "one", state="running", unreadable=2, **place, **best)
    append_row(run.metrics, {"split": "train", "step": 120, "loss": 0.123456})
    a_run(tmp_path, "two", state="stopped")
    assert cli.main(["runs", str(tmp_path)]) == 0
    said = capsys.readouterr()
    _, two, one = said.out.splitlines()
    assert two.split()[1:3] == ["controlnet", "stopped"]
    assert " ".join(one.split()[1:]) == "controlnet running 120/1000 3.2 2 h 1 min 0.1235 0.5 at 100"
    assert "2 items of the data could not be read" in said.err


def test_a_training_is_asked_to_stop(capsys, tmp_path):
    run = a_run(tmp_path, "one", state="running")
    assert cli.main(["stop", str(run.path)]) == 0
    assert capsys.readouterr().out == "It will write a checkpoint and stop.\n"
    assert run.status().state == "stopping"


def test_no_trainings_are_told(capsys, tmp_path):
    assert "There are no trainings in" in refused(capsys, "runs", str(tmp_path))
    assert "There is no training in" in refused(capsys, "stop", str(tmp_path))


def test_presets_and_schemas_are_printed(capsys):
    assert cli.main(["train", "presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(presets())
    assert all(len(line.split()) > 4 for line in lines)
    assert cli.main(["train", "schema", "controlnet"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["stage"]["const"] == "controlnet"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_told_in_two_units(seconds, words):
    assert duration(seconds) == words


def test_a_whole_configuration_is_printed(capsys, tmp_path):
    """What a preset says, what is changed, and the defaults of the rest."""
    changes = [f"data.prepared={tmp_path}", "run.epochs=7"]
    assert cli.main(["train", "show", "controlnet", *(f"--set={change}" for change in changes)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["stage"] == "controlnet"
    assert shown["run"]["epochs"] == 7
    assert shown["run"]["clip"] == 1
    assert shown["optimizer"]["learning_rate"] == 5e-5
