"""``maisi vary``: what stands in the folder, whatever happens on the way."""

import json
import os
import re
import signal
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from monai.auto3dseg.utils import datafold_read
from monai.data import load_decathlon_datalist
from scipy import ndimage

from helpers.command_line import FakeSynthesis, refused, run_maisi, write_labels
from helpers.processes import waitUntil
from maisi import cli
from maisi.editing import SMALLEST_MARGIN_MM
from maisi.errors import Cancelled, InputError, WeightsError
from maisi.files import read_image, read_labels, write_volume
from maisi.labels import find_label
from maisi.masks.lesion import Lesion
from maisi.runs import RUNS
from maisi.train.prepare.sources import read_sources
from maisi.vary.__main__ import main as one_process
from maisi.vary.folder import SeriesFolder
from maisi.vary.opening import join
from maisi.volume import LabelVolume

SIZE = ("--sizes", "12,18")
VARY = ("vary", "labels.nii.gz", "-n", "6", "-o", "Dataset501_Liver", *SIZE)
OUT = SeriesFolder(Path("Dataset501_Liver"))
CASES = [f"vary_{number:04d}" for number in range(1, 7)]
TUMOR = find_label("hepatic tumor")


def manifest() -> dict[str, dict]:
    """Case -> its line of the manifest."""
    records = map(json.loads, (OUT.path / "manifest.jsonl").read_text().splitlines())
    return {record["case"]: record for record in records}


def files() -> dict[str, bytes]:
    """Every volume and record of the series."""
    kept = (path for folder in ("imagesTr", "labelsTr", "cases") for path in (OUT.path / folder).rglob("*"))
    return {str(path): path.read_bytes() for path in kept}


def nnunet_problems(folder: Path) -> list[str]:
    """What ``nnUNetv2_plan_and_preprocess --verify_dataset_integrity`` would refuse in a data set."""
    dataset = json.loads((folder / "dataset.json").read_text())
    ending, labels = dataset["file_ending"], dataset["labels"]
    images = sorted(path.name for path in (folder / "imagesTr").iterdir() if path.name.endswith(ending))
    cases = sorted({name[: -len(ending) - 5] for name in images})
    problems = [
        f"{key} is missing" for key in ("labels", "channel_names", "numTraining", "file_ending") if key not in dataset
    ]
    if len(cases) != dataset["numTraining"]:
        problems.append(f"{len(cases)} cases, not {dataset['numTraining']}")
    if images != [f"{case}_{int(channel):04d}{ending}" for case in cases for channel in dataset["channel_names"]]:
        problems.append("files that are not those of the channels")
    if sorted(labels.values()) != list(range(len(labels))) or labels["background"] != 0:
        problems.append("labels are not consecutive")
    for case in cases:
        image, label = (
            read_image(folder / "imagesTr" / f"{case}_0000{ending}"),
            read_image(folder / "labelsTr" / f"{case}{ending}"),
        )
        if not image.same_grid(label):
            problems.append(f"{case}: another grid")
        if not set(np.unique(label.array).tolist()) <= set(labels.values()):
            problems.append(f"{case}: labels without a name")
    return problems


# ---- what is made


def test_pairs_share_seed_and_background(folder, fake):
    assert cli.main([*VARY, "--seed", "3"]) == 0
    records = manifest()
    assert list(records) == CASES
    assert [record["seed"] for record in records.values()] == [3, 3, 4, 4, 5, 5]
    assert [record["variation"] is None for record in records.values()] == [True, False] * 3
    synthesized, edited = ([call for call in fake.asked if ("image" in call) == edit] for edit in (False, True))
    assert [call["seed"] for call in synthesized] == [3, 4, 5]
    for first, second in zip(synthesized, edited, strict=True):
        assert second["seed"] == first["seed"]
        assert (second["image"].array == 40 + first["seed"]).all(), "the edit starts from the background of the pair"
        assert np.array_equal(second["before"].array, first["labels"].array)


def test_a_record_tells_all_about_its_case(folder, fake):
    assert cli.main(VARY) == 0
    record = manifest()["vary_0002"]
    variation = record["variation"]
    lesion = Lesion.from_json(variation["lesion"])
    assert lesion.label == TUMOR
    assert (variation["organ"], variation["size_mm"]) == ("liver", 12.0)
    assert (record["status"], record["how"], record["model"]) == ("done", "edited", "embedded")
    assert record["options"]["seed"] == 0
    assert record["contrast_hu"] == record["change_hu"] == 0.0, "the fake knows no contrast"
    assert {len(record[kind]["sha256"]) for kind in ("image", "label")} == {64}
    label = read_image(OUT.label("vary_0002")).array
    number = json.loads((OUT.path / "dataset.json").read_text())["labels"]["hepatic tumor"]
    assert (label == number).sum() * 0.036 == pytest.approx(variation["volume_ml"], abs=1e-3)


def test_the_data_set_is_what_nnunet_and_monai_want(folder, fake):
    assert cli.main(VARY) == 0
    assert nnunet_problems(OUT.path) == []
    dataset = json.loads((OUT.path / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "liver": 1, "hepatic tumor": 2, "body": 3}
    assert dataset["channel_names"] == {"0": "CT"}
    listed = load_decathlon_datalist(OUT.path / "datalist.json")
    assert len(listed) == 6
    assert all(Path(item[key]).is_file() for item in listed for key in ("image", "label"))
    splits = json.loads((OUT.path / "splits_final.json").read_text())
    for fold, split in enumerate(splits):
        train, val = datafold_read(str(OUT.path / "datalist.json"), str(OUT.path), fold)
        assert [Path(item["label"]).name for item in train] == [f"{case}.nii.gz" for case in split["train"]]
        assert [Path(item["label"]).name for item in val] == [f"{case}.nii.gz" for case in split["val"]]
        assert train
        assert val


def test_training_finds_the_pairs_without_and_with_a_lesion(folder, fake):
    assert cli.main(VARY) == 0
    made = {
        record["case"]: record for record in map(json.loads, (OUT.path / "manifest.jsonl").read_text().splitlines())
    }
    pairs = {case.id.removesuffix("_0000"): case.pair for case in read_sources([OUT.path / "datalist.json"])}
    assert pairs.keys() == made.keys()
    for case, pair in pairs.items():
        assert (pair is None) == (made[case]["variation"] is None)
        if pair is not None:
            partner = made[pair.removesuffix("_0000")]
            assert (partner["variation"], partner["background"]) == (None, made[case]["background"])


def test_lesions_alone_can_be_the_classes(folder, fake):
    assert cli.main([*VARY, "--classes", "lesions"]) == 0
    assert json.loads((OUT.path / "dataset.json").read_text())["labels"] == {"background": 0, "hepatic tumor": 1}
    assert nnunet_problems(OUT.path) == []


def test_a_ct_is_the_one_background_of_its_series(folder, fake):
    assert cli.main(["vary", "ct.nii.gz", *VARY[1:]]) == 0
    records = manifest()
    assert [record["variation"] is None for record in records.values()] == [True, *[False] * 5]
    assert records["vary_0001"]["how"] == "the CT itself"
    assert np.array_equal(read_image(OUT.image("vary_0001")).array, read_image("ct.nii.gz").array)
    assert [(call["image"].array == 50).all() for call in fake.asked] == [True] * 5, "five edits of the CT"


def test_lesions_of_the_ct_are_removed_first_or_kept(folder, fake):
    """after.nii.gz has a tumor."""
    command = ["vary", "ct.nii.gz", "after.nii.gz", "-n", "2", *SIZE]
    assert cli.main([*command, "-o", "removed"]) == 0
    removal, lesion = fake.asked
    assert (TUMOR in removal["before"].array, TUMOR in removal["labels"].array) == (True, False)
    assert TUMOR not in lesion["before"].array
    fake.asked.clear()
    assert cli.main([*command, "-o", "kept", "--keep-lesions"]) == 0
    (lesion,) = fake.asked
    assert TUMOR in lesion["before"].array


def test_a_dry_run_shows_the_plan_and_writes_nothing(folder, fake, capsys):
    assert cli.main([*VARY, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert re.fullmatch(r"vary_0002 +0 +hepatic tumor +liver +12 mm +0 +0 +[\d.]+ ml +\d+%", lines[2])
    assert fake.asked == []
    assert not OUT.path.exists()


def test_a_folder_that_nnunet_does_not_take_is_told(folder, fake, capsys):
    assert cli.main(["vary", "labels.nii.gz", "-n", "2", "-o", "mine", *SIZE]) == 0
    assert "Dataset501_mine" in capsys.readouterr().err


# ---- going on


def test_a_complete_series_is_not_made_again(folder, fake):
    assert cli.main(VARY) == 0
    before, calls = files(), len(fake.asked)
    assert cli.main([*VARY, "--device", "cpu"]) == 0, "another device is the same series"
    assert (files(), len(fake.asked)) == (before, calls)


@pytest.mark.parametrize("broken", ["absent", "cut", "record"])
def test_only_what_is_missing_is_made(folder, fake, broken):
    assert cli.main(VARY) == 0
    before, calls = files(), len(fake.asked)
    image = OUT.image("vary_0004")
    if broken == "absent":
        image.unlink()
    elif broken == "cut":
        image.write_bytes(image.read_bytes()[:-5])
    else:
        OUT.record("vary_0004").write_text('{"status": "do')
    assert cli.main(VARY) == 0
    assert len(fake.asked) == calls + 2, "the case, and the background that it is an edit of"
    volumes = {name: content for name, content in files().items() if "cases" not in name}
    assert volumes == {name: content for name, content in before.items() if "cases" not in name}


def test_a_case_that_fails_is_told_and_the_rest_goes_on(folder, fake, monkeypatch, capsys):
    def fail(image, before, after, **settings):
        if settings["seed"] == 1:
            raise InputError("This one is too hard.")
        return FakeSynthesis.edit(fake, image, before, after, **settings)

    monkeypatch.setattr("maisi.editing.edit", fail)
    assert cli.main(VARY) == 2
    said = capsys.readouterr()
    assert "Wrote 5 of 6 cases" in said.out
    assert "1 of 6 cases are missing (vary_0004: This one is too hard); run" in said.err.splitlines()[-1]
    assert manifest()["vary_0004"]["error"] == "This one is too hard."
    assert nnunet_problems(OUT.path) == []
    assert len(load_decathlon_datalist(OUT.path / "datalist.json")) == 5
    monkeypatch.setattr("maisi.editing.edit", fake.edit)
    assert cli.main(VARY) == 0
    assert manifest()["vary_0004"]["status"] == "done"


def test_an_error_of_the_program_is_recorded_with_where_it_happened(folder, fake):
    fake.error = ZeroDivisionError("oops")
    assert cli.main(VARY) == 2
    assert OUT.read_record("vary_0001")["error"] == "ZeroDivisionError: oops"
    assert "Traceback" in OUT.read_record("vary_0001")["trace"]


@pytest.mark.parametrize(
    ("error", "code"), [(WeightsError("no weights"), 2), (Cancelled("a"), 130), (KeyboardInterrupt(), 130)]
)
def test_what_stops_all_cases_stops_at_once(folder, fake, error, code):
    fake.error = error
    assert cli.main(VARY) == code
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "change",
    ["--seed 9", "--steps 3", "--shapes 1", "--keep-lesions", "--model rflow-ct", "after.nii.gz"],
)
def test_another_series_in_the_same_folder_is_refused(folder, fake, capsys, change):
    assert cli.main(VARY) == 0
    capsys.readouterr()
    before = files()
    labels, given = ([change], []) if change.endswith("gz") else (["labels.nii.gz"], change.split())
    sentence = refused(capsys, "vary", *labels, *VARY[2:], *given)
    assert "holds another series" in sentence
    assert (given[0].strip("-").split("-")[0] if given else "inputs: labels") in sentence
    assert files() == before


# ---- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("labels.nii.gz -n 0 -o out", "from 1 to 100000"),
        ("labels.nii.gz -n 4 -o no/folder", "does not exist"),
        ("labels.nii.gz -n 4 -o ct.nii.gz/out", "cannot be written"),
        ("labels.nii.gz -n 4 -o full", "holds no series"),
        ("labels.nii.gz -n 4 -o ct.nii.gz", "holds no series"),
        ("labels.nii.gz -n 4 -o out --organs elbow", "no organ called 'elbow'"),
        ("labels.nii.gz -n 4 -o out --organs spleen", "has no spleen"),
        ("labels.nii.gz -n 4 -o out --nproc 0", "from 1 to 256"),
        ("labels.nii.gz -n 4 -o out --sizes large", "--sizes"),
        ("bodies.nii.gz -n 4 -o out", "no organ in which a lesion"),
        ("ct.nii.gz other.nii.gz -n 4 -o out", "different grids"),
        ("ct.nii.gz labels.nii.gz -n 4 -o out --backgrounds 2", "With a CT there is one background"),
        ("ct.nii.gz labels.nii.gz after.nii.gz -n 4 -o out", "got 3 files"),
        ("absent.nii.gz -n 4 -o out", "no file"),
        ("labels.nii.gz -n 4 -o out --model nothing", "nothing"),
        ("labels.nii.gz -n 4 -o out --solver magic", "magic"),
    ],
)
def test_bad_input_gets_one_sentence_and_nothing_is_written(folder, fake, capsys, arguments, message):
    Path("full").mkdir()
    Path("full/mine.txt").touch()
    write_labels("bodies.nii.gz", np.full((24, 24, 20), 200, np.uint8))
    write_volume("other.nii.gz", LabelVolume(np.ones((24, 24, 20), np.uint8), np.diag([2.0, 3.0, 4.0, 1.0])))
    before = sorted(path.name for path in folder.rglob("*"))
    assert message in refused(capsys, "vary", *SIZE, *arguments.split())
    assert fake.asked == []
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_full_disk_stops_with_a_sentence(folder, fake, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maisi.vary.run.tempfile.TemporaryDirectory", full)
    monkeypatch.setattr("maisi.files.tempfile.TemporaryDirectory", full)
    assert "No space left" in refused(capsys, *VARY)


def test_a_damaged_plan_gets_a_sentence(folder, fake, capsys):
    assert cli.main(VARY) == 0
    capsys.readouterr()
    OUT.plan.write_text("{")
    assert "damaged" in refused(capsys, *VARY)


def test_a_process_that_ends_too_early_is_told(folder, fake, capsys, monkeypatch):
    monkeypatch.setattr("maisi.torchrun.sys", types.SimpleNamespace(executable="false"))
    assert cli.main([*VARY, "--nproc", "2"]) == 2
    assert (
        f"One of the processes ended before its cases were made ({OUT.log}" in capsys.readouterr().err.splitlines()[-1]
    )


@pytest.mark.parametrize(("device", "count", "used"), [("auto", 2, "cuda:1"), ("cpu", 2, "cpu"), ("auto", 0, "auto")])
def test_each_process_has_a_device_of_its_own(folder, fake, monkeypatch, device, count, used):
    assert cli.main(VARY) == 0
    OUT.record("vary_0004").unlink()
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    for name, value in {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["maisi.vary", str(OUT.path)])
    monkeypatch.setattr("maisi.vary.__main__.join", lambda path: _on(device, join(path)))
    assert one_process() == 0
    assert fake.asked[-1]["device"] == used
    assert nnunet_problems(OUT.path) == []


def _on(device, series):
    options = replace(series.options, device=device)
    return replace(series, source=replace(series.source, options=options))


@pytest.mark.parametrize("change", ["folder", "labels"])
def test_a_process_refuses_what_is_not_its_series(folder, fake, capsys, monkeypatch, change):
    assert cli.main(VARY) == 0
    capsys.readouterr()
    if change == "labels":
        write_labels("labels.nii.gz", np.ones((24, 24, 20), np.uint8))
    monkeypatch.setattr("sys.argv", ["maisi.vary", "nothing" if change == "folder" else str(OUT.path)])
    assert one_process() == 2
    assert {"folder": "no series", "labels": "inputs: labels"}[change] in capsys.readouterr().err


# ---- real processes, real networks


QUICK = ("--steps", "2", "--model", "tiny")


@pytest.fixture
def one_thread(monkeypatch):
    """In this process and its children: more threads add the same numbers in another order."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def test_two_processes_make_what_one_makes(folder, a_tiny_model, one_thread):
    command = ["vary", "labels.nii.gz", "-n", "4", *SIZE, *QUICK]
    assert cli.main([*command, "-o", "one"]) == 0
    done = run_maisi(*command, "-o", "two", "--nproc", "2")
    assert done.returncode == 0, done.stderr
    one, two = SeriesFolder(Path("one")), SeriesFolder(Path("two"))
    for case in CASES[:4]:
        for kind in ("image", "label"):
            assert one.read_record(case)[kind]["voxels_sha256"] == two.read_record(case)[kind]["voxels_sha256"]
    assert nnunet_problems(two.path) == []
    assert not two.parts.exists()


def test_variations_differ_from_their_background_near_the_lesion_only(folder, a_tiny_model):
    assert cli.main(["vary", "labels.nii.gz", "-n", "2", "-o", "out", "--sizes", "34", *QUICK, "--guidance", "30"]) == 0
    out = SeriesFolder(Path("out"))
    background, image = (read_image(out.image(case)) for case in CASES[:2])
    lesion = read_image(out.label("vary_0002")).array != read_image(out.label("vary_0001")).array
    differing = background.array != image.array
    assert differing[lesion].any()
    margin = max(SMALLEST_MARGIN_MM, 4 * image.spacing.mean())  # one latent voxel
    far = ndimage.distance_transform_edt(~lesion, sampling=image.spacing) > margin
    assert far.any()
    assert not differing[far].any()
    assert image.same_grid(read_labels("labels.nii.gz"))


def test_a_variation_is_the_same_when_it_alone_is_made(folder, a_tiny_model):
    """Its background has to be made again, since an edit follows the run that made what it edits."""
    command = ["vary", "labels.nii.gz", "-n", "2", "-o", "out", "--sizes", "34", *QUICK, "--guidance", "30"]
    assert cli.main(command) == 0
    out = SeriesFolder(Path("out"))
    before = out.read_record("vary_0002")
    out.record("vary_0002").unlink()
    RUNS.clear()
    assert cli.main(command) == 0
    assert out.read_record("vary_0002")["image"]["voxels_sha256"] == before["image"]["voxels_sha256"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_series_goes_on_where_it_was(folder, a_tiny_model):
    """Killed after its first cases, then run to its end: every case is the same as in an undisturbed run."""
    command = ["vary", "labels.nii.gz", "-n", "6", *SIZE, *QUICK]
    process = subprocess.Popen([sys.executable, "-m", "maisi", *command, "-o", "killed"], stderr=subprocess.DEVNULL)
    killed = SeriesFolder(Path("killed"))
    waitUntil(lambda: killed.status().done >= 2, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {case: killed.record(case).stat().st_mtime_ns for case in killed.done(CASES)}
    assert 2 <= len(kept) < 6
    assert cli.main([*command, "-o", "killed"]) == 0
    assert cli.main([*command, "-o", "whole"]) == 0
    whole = SeriesFolder(Path("whole"))
    assert {case: killed.record(case).stat().st_mtime_ns for case in kept} == kept
    for case in CASES:
        for kind in ("image", "label"):
            assert killed.read_record(case)[kind]["voxels_sha256"] == whole.read_record(case)[kind]["voxels_sha256"]
    assert sorted(path.name for path in killed.path.iterdir()) == sorted(path.name for path in whole.path.iterdir())
    assert nnunet_problems(killed.path) == []
