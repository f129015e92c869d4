"""The quality check over a set: counted by organ and by case."""

from __future__ import annotations

import json

import numpy as np

from helpers.command_line import refused
from helpers.small_cts import AFFINE, write_ct
from maisi import cli
from maisi.files import write_volume
from maisi.volume import LabelVolume


def a_set(folder, livers) -> None:
    """Cases of a liver and a spleen of 50 HU."""
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[:4], labels[4:] = 1, 3
    for number, liver in enumerate(livers):
        write_ct(folder / f"{number}.nii.gz", np.where(labels == 1, liver, 50))
        write_volume(folder / f"{number}_label.nii.gz", LabelVolume(labels, AFFINE))


def test_organs_are_counted_over_the_set(tmp_path, capsys):
    a_set(tmp_path / "set", (60, 80, 300))
    out = tmp_path / "out.json"
    assert cli.main(["evaluate", "hu", str(tmp_path / "set"), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert (found["cases"], found["cases_passed"], found["readings"], found["in_range"]) == (3, 2, 6, 5)
    liver = found["organs"]["liver"]
    assert (liver["in_range"], liver["median_hu"], liver["lowest_hu"], liver["highest_hu"]) == (2, 80, 60, 300)
    assert found["software"]["maisi"]
    assert found["kind"] == "hu"
    assert [case["organs"][0]["passed"] for case in found["details"]] == [True, True, False]
    assert "2 of 3 (67%)" in capsys.readouterr().out


def test_ranges_of_ones_own_are_used(tmp_path, capsys):
    a_set(tmp_path / "real", (60, 62, 64))
    a_set(tmp_path / "set", (60, 80))
    assert cli.main(["check", "--learn", str(tmp_path / "real"), "-o", str(tmp_path / "own.json")]) == 0
    assert cli.main(["evaluate", "hu", str(tmp_path / "set"), "--statistics", str(tmp_path / "own.json")]) == 0
    assert "1 of 2 (50%)" in capsys.readouterr().out


def test_bad_input_gets_one_sentence(tmp_path, capsys):
    assert "no folder" in refused(capsys, "evaluate", "hu", str(tmp_path / "absent"))
    write_ct(tmp_path / "0.nii.gz", np.zeros((8, 8, 8)))
    assert "no label maps" in refused(capsys, "evaluate", "hu", str(tmp_path))
    assert "SUBJECT" in refused(capsys, "evaluate")
