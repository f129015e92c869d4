"""``maisi prepare`` as a process: what it says, several processes, and being killed."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from helpers.command_line import refused, run_maisi
from helpers.processes import waitUntil
from helpers.small_datasets import write_cases, write_nnunet
from maisi import cli
from maisi.train.prepared import read_items, read_settings

SMALL = ("--multiple", "16", "--min-slices", "8", "--copies", "smallest")


def test_a_look_prints_a_table_and_writes_a_report_and_nothing_else(tmp_path, capsys):
    write_cases(tmp_path / "data", 2)
    (tmp_path / "data/case1/ct.nii.gz").write_bytes(b"nothing")
    out = str(tmp_path / "out")
    assert cli.main(["prepare", str(tmp_path / "data"), "-o", out, "--check", *SMALL]) == 0
    said = capsys.readouterr()
    assert "1 of 2 cases can be used" in said.out
    assert any("case1" in line and "NO" in line and "unreadable" in line for line in said.out.splitlines())
    assert "note: Dropped: case1: " in said.err
    assert cli.main(["prepare", str(tmp_path / "data"), "-o", out, "--check", "--json", *SMALL]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [case["used"] for case in report["cases"]] == [True, False]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


def test_a_new_lesion_class_goes_from_the_command_line_to_the_items(tmp_path, capsys):
    source = write_nnunet(tmp_path / "set", {"background": 0, "Liver": 1, "hemangioma": 2})
    arguments = [str(source), "-o", str(tmp_path / "out"), *SMALL, "--new-label", "hemangioma=133:liver"]
    assert cli.main(["prepare", *arguments]) == 0
    assert "2 images (0 of them down-sampled copies), 0 with latents" in capsys.readouterr().out
    assert {item.ids for item in read_items(tmp_path / "out")} == {(1, 133)}
    assert [(c.name, c.id, c.hosts) for c in read_settings(tmp_path / "out").classes] == [("hemangioma", 133, (1,))]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent"], "There is no folder"),
        ([".", "--multiple", "7"], "multiple must be"),
        ([".", "--new-label", "x"], "no new class"),
        ([".", "--map", "x"], "maps nothing"),
        ([".", "--model", "absent"], "no model called"),
        ([".", "--autoencoder", "absent"], "no autoencoder"),
        ([".", "--nproc", "0"], "number of processes"),
        (["."], "no image"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, "prepare", *arguments, "-o", "out")


def test_two_processes_make_what_one_makes(tmp_path, a_tiny_model):
    write_cases(tmp_path / "data", 3)
    arguments = ["prepare", str(tmp_path / "data"), *SMALL, "--model", a_tiny_model, "-o"]
    assert cli.main([*arguments, str(tmp_path / "one")]) == 0
    run = run_maisi(*arguments, str(tmp_path / "two"), "--nproc", "2")
    assert run.returncode == 0, run.stderr
    assert "3 images (0 of them down-sampled copies), 3 with latents" in run.stdout
    one, two = (
        {str(path.relative_to(tmp_path / out)): path.read_bytes() for sub in ("images", "labels", "latents", "cases")
         for path in (tmp_path / out / sub).iterdir()} | {"items": (tmp_path / out / "items.jsonl").read_bytes()}
        for out in ("one", "two")
    )  # fmt: skip
    assert one == two


def test_a_preparation_that_is_killed_goes_on(tmp_path):
    write_cases(tmp_path / "data", 12)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "maisi", "prepare", str(tmp_path / "data"), "-o", str(out), *SMALL]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        waitUntil(lambda: len(list((out / "cases").glob("*.json"))) >= 3)
        psutil.Process(process.pid).kill()
    done = {path.name: path.stat().st_mtime_ns for path in (out / "cases").glob("*.json")}
    assert 3 <= len(done) < 12
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(read_items(out)) == 12
    assert {name: (out / "cases" / name).stat().st_mtime_ns for name in done} == done
