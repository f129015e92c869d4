"""``maisi check``: a table or JSON, other ranges, learning them."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import AFFINE, SHAPE, refused, write_labels
from maisi import cli
from maisi.files import write_volume
from maisi.volume import ImageVolume


def test_check_prints_a_table_or_json(folder, capsys):
    assert cli.main(["check", "ct.nii.gz", "labels.nii.gz"]) == 0
    assert "liver" in capsys.readouterr().out
    assert cli.main(["check", "ct.nii.gz", "labels.nii.gz", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["organs"][0]["median_hu"] == 50
    assert report["passed"] == 1


def test_the_compatible_list_leaves_the_right_lower_lobe_out(folder, capsys):
    write_labels("lobe.nii.gz", np.full(SHAPE, 32, np.uint8))
    assert cli.main(["check", "ct.nii.gz", "lobe.nii.gz"]) == 0
    assert "0 of 1 organs" in capsys.readouterr().out
    assert cli.main(["check", "ct.nii.gz", "lobe.nii.gz", "--compatible"]) == 0
    assert "0 of 0 organs" in capsys.readouterr().out


def test_ranges_are_learned_and_used(folder, capsys):
    (folder / "cases").mkdir()
    for number, hu in enumerate((90, 95, 100)):
        write_volume(f"cases/{number}_ct.nii.gz", ImageVolume(np.full(SHAPE, hu, np.int16), AFFINE))
        write_labels(f"cases/{number}_label.nii.gz", np.ones(SHAPE, np.uint8))
    assert cli.main(["check", "--learn", "cases", "-o", "stats.json"]) == 0
    said = capsys.readouterr()
    assert said.out == "Wrote stats.json: ranges of 1 organs from 3 images.\n"
    assert "note: These ranges rest on fewer than 20 images" in said.err
    assert cli.main(["check", "ct.nii.gz", "labels.nii.gz", "--statistics", "stats.json", "--json"]) == 0
    (liver,) = json.loads(capsys.readouterr().out)["organs"]
    assert (liver["low"], liver["high"], liver["passed"]) == (80, 110, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check", "Give a CT and its labels"),
        ("check ct.nii.gz", "Give a CT and its labels"),
        ("check ct.nii.gz labels.nii.gz -o x.json", "belongs to --learn"),
        ("check --learn .", "-o FILE.json"),
        ("check --learn . -o x.txt", "must end in .json"),
        ("check --learn no -o x.json", "no folder"),
        ("check --learn . --compatible -o x.json", "not allowed with"),
        ("check ct.nii.gz labels.nii.gz --statistics no.json", "no file"),
    ],
)
def test_wrong_calls_get_one_sentence(folder, capsys, arguments, message):
    assert message in refused(capsys, *arguments.split())
    assert not Path("x.json").exists()
