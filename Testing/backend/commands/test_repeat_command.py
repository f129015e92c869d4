"""The record beside a result, and making the result again from it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import refused, write_labels
from maisi import cli
from maisi.files import read_image, read_labels, write_volume
from maisi.outputs.record import Record
from maisi.request import array_sha256


@pytest.fixture
def a_result(folder, fake):
    """The folder with out.nii.gz and its record."""
    command = "synthesize labels.nii.gz -o out.nii.gz --seed 7 --steps 2"
    assert cli.main(command.split()) == 0
    return folder


def test_the_record_tells_what_was_asked_and_used(a_result):
    record = json.loads(Path("out.json").read_text())
    assert record["request"]["options"]["seed"] == 7
    assert record["request"]["files"] == {"labels": "labels.nii.gz"}
    assert record["inputs_sha256"]["labels"] == array_sha256(read_labels("labels.nii.gz").array)
    assert record["image"] == {"file": "out.nii.gz", "sha256": array_sha256(read_image("out.nii.gz").array)}
    assert record["grid"]["shape"] == [24, 24, 20]
    assert {"maisi", "torch"} == set(record["software"])
    assert record["created"].endswith("+00:00")
    assert record["result"]["notices"] == ["mind the body"]
    assert len(record["result"]["checks"]) == 2
    assert len(record["result"]["model_sha256"]) == 64


def test_repeat_makes_the_same_image_again(a_result, fake, capsys):
    assert cli.main(["repeat", "out.json", "-o", "again.nrrd"]) == 0
    assert "identical to the first" in capsys.readouterr().out
    assert np.array_equal(read_image("again.nrrd").array, read_image("out.nii.gz").array)
    first, second = fake.asked
    assert {k: first[k] for k in ("seed", "steps", "model")} == {k: second[k] for k in ("seed", "steps", "model")}


@pytest.mark.parametrize(
    "command",
    [
        "edit ct.nii.gz labels.nii.gz after.nii.gz -o out.nii.gz --seed 3",
        "generate -o out.nii.gz --size 8 9 10 --spacing 1 1 2 --noise noise.npy",
        "synthesize labels.nii.gz -o out/ --latents noise.npy --strength 0.5",
    ],
)
def test_all_kinds_of_results_can_be_repeated(folder, fake, capsys, command):
    np.save("noise.npy", np.ones((4, 2, 2, 2), np.float32))
    assert cli.main(command.split()) == 0
    assert cli.main(["repeat", "out.json", "-o", "again.nii.gz"]) == 0
    assert "identical to the first" in capsys.readouterr().out
    for name, value in fake.asked[0].items():
        assert np.array_equal(
            getattr(value, "array", value), getattr(fake.asked[1][name], "array", fake.asked[1][name])
        )


def test_a_record_still_holds_after_its_folder_was_moved(a_result, tmp_path_factory):
    there = shutil.move(str(a_result), tmp_path_factory.mktemp("other"))
    assert cli.main(["repeat", f"{there}/out.json", "-o", f"{there}/again.nii.gz"]) == 0


def test_another_label_file_is_told(a_result, capsys):
    array = read_labels("labels.nii.gz").array
    array[0, 0, 0] = 3
    write_labels("labels.nii.gz", array)
    assert "labels.nii.gz (labels) is another one" in refused(capsys, "repeat", "out.json", "-o", "again.nii.gz")


def test_another_grid_is_told(a_result, capsys):
    write_labels("labels.nii.gz", read_labels("labels.nii.gz").array, np.diag([2.0, 2, 2, 1]))
    assert "another grid" in refused(capsys, "repeat", "out.json", "-o", "again.nii.gz")


def test_another_model_is_told(a_result, capsys):
    content = json.loads(Path("out.json").read_text())
    content["result"]["model_sha256"] = "0" * 64
    Path("out.json").write_text(json.dumps(content))
    assert "embedded is another one" in refused(capsys, "repeat", "out.json", "-o", "again.nii.gz")


@pytest.mark.parametrize(("first_is_there", "told"), [(True, ": 1 of 11520 voxels differ, by 4 at most"), (False, "")])
def test_another_image_is_told_with_what_is_different(a_result, capsys, first_is_there, told):
    first = read_image("out.nii.gz")
    first.array[0, 0, 0] += 4
    write_volume("out.nii.gz", first)
    content = json.loads(Path("out.json").read_text())
    content["image"]["sha256"], content["software"]["torch"] = array_sha256(first.array), "1.0"
    Path("out.json").write_text(json.dumps(content))
    if not first_is_there:
        Path("out.nii.gz").unlink()
    capsys.readouterr()
    assert cli.main(["repeat", "out.json", "-o", "again.nii.gz"]) == 0
    _, compared, software = capsys.readouterr().out.splitlines()
    assert compared == f"The image is not identical to the first one{told}."
    assert software.startswith("The first one was made with torch 1.0, this one with ")


def test_the_first_image_is_not_overwritten(a_result, capsys):
    assert "one of the inputs" in refused(capsys, "repeat", "out.json", "-o", "out.nii.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no file"), ("{", "not the record"), ("{}", "not the record"), ('{"format": "maisi-record"}', "damaged")],
)
def test_files_that_are_no_records_are_told(folder, fake, capsys, content, message):
    if content is not None:
        Path("out.json").write_text(content)
    assert message in refused(capsys, "repeat", "out.json", "-o", "again.nii.gz")


def test_a_record_without_its_files_is_damaged(a_result):
    content = json.loads(Path("out.json").read_text())
    content["request"]["files"] = {}
    Path("out.json").write_text(json.dumps(content))
    with pytest.raises(Exception, match="damaged"):
        Record(Path("out.json"))


def test_checksums_do_not_depend_on_the_order_in_memory():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert array_sha256(array) == array_sha256(np.asfortranarray(array))
    assert array_sha256(array) != array_sha256(array.astype(np.int32))
    assert array_sha256(array) != array_sha256(array.reshape(3, 2, 4))
