"""The command line: exit codes, one sentence on bad input, nothing written by mistake, and the whole way once."""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maisi import cli
from maisi.errors import Cancelled, InputError, OutOfMemoryError, WeightsError
from maisi.files import read_image, read_labels, write_volume
from maisi.labels import BODY
from maisi.volume import ImageVolume, LabelVolume

AFFINE = np.diag([-3.0, 3.0, 4.0, 1.0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with labels, the same with a lesion, and a CT; the working directory of the test."""
    labels = np.full((24, 24, 20), BODY, np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    write_volume(tmp_path / "labels.nii.gz", LabelVolume(labels, AFFINE))
    labels[8:12, 8:12, 8:12] = 26
    write_volume(tmp_path / "after.nii.gz", LabelVolume(labels, AFFINE))
    write_volume(tmp_path / "ct.nii.gz", ImageVolume(np.full(labels.shape, 50, np.int16), AFFINE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class FakeSynthesis:
    """Takes the place of the networks: everything becomes 40 HU; remembers what it was asked."""

    def __init__(self):
        self.asked, self.error = None, None

    def synthesize(self, labels, *, progress, **settings):
        self.asked = {"labels": labels, **settings}
        if self.error is not None:
            raise self.error
        for step in range(settings["steps"] or 3):
            progress("sample", step + 1, settings["steps"] or 3)
        progress("decode", 1, 1)
        image = ImageVolume(np.full(labels.shape, 40, np.int16), labels.affine)
        info = {"model": settings["model"], "seed": settings["seed"], "seconds": 1.0, "notices": ["mind the body"]}
        return types.SimpleNamespace(image=image, info={**info, "checks": [{"passed": True}, {"passed": False}]})

    def edit(self, image, before, after, **settings):
        result = self.synthesize(after, **settings)
        self.asked |= {"image": image, "before": before}
        return result


@pytest.fixture
def fake(monkeypatch):
    synthesis = FakeSynthesis()
    monkeypatch.setattr("maisi.synthesis.synthesize", synthesis.synthesize)
    monkeypatch.setattr("maisi.synthesis.edit", synthesis.edit)
    told = types.SimpleNamespace(device="cpu", memory_gb=1.5, seconds=12.0, model_shape=(32, 32, 32))
    monkeypatch.setattr("maisi.planning.estimate", lambda *_: told)
    return synthesis


def test_synthesize_writes_a_marked_ct_on_the_grid_of_the_labels(folder, fake, capsys):
    code = cli.main(
        ["synthesize", "labels.nii.gz", "-o", "out.nii.gz", "--seed", "7", "--steps", "5", "--device", "cpu"]
    )
    said = capsys.readouterr()
    assert code == 0
    image = read_image("out.nii.gz")
    assert image.same_grid(read_labels("labels.nii.gz"))
    assert (image.array == 40).all()
    assert b"SYNTHETIC" in nib.load("out.nii.gz").header["descrip"].item()
    assert {k: fake.asked[k] for k in ("seed", "steps", "device", "model")} == {
        "seed": 7, "steps": 5, "device": "cpu", "model": "embedded"
    }  # fmt: skip
    assert "1.5 GB" in said.err.splitlines()[0]  # the estimate stands before everything else
    assert "sample: 100%" in said.err
    assert "note: mind the body" in said.err
    assert said.out == "Wrote out.nii.gz in 1 s; 1 of 2 organs in HU range.\n"


def test_synthesize_maps_other_numberings(folder, fake):
    write_volume("ts.nii.gz", LabelVolume(np.full((24, 24, 20), 5, np.uint8), AFFINE))
    assert cli.main(["synthesize", "ts.nii.gz", "-o", "out.nii.gz", "--labels-from", "totalsegmentator"]) == 0
    assert (fake.asked["labels"].array == 1).all()


def test_edit_takes_the_ct_and_both_label_maps(folder, fake):
    assert cli.main(["edit", "ct.nii.gz", "labels.nii.gz", "after.nii.gz", "-o", "out.nrrd"]) == 0
    assert (fake.asked["image"].array == 50).all()
    assert 26 not in fake.asked["before"].array
    assert 26 in fake.asked["labels"].array
    assert Path("out.nrrd").exists()


def test_edit_brings_cropped_labels_to_the_grid_of_the_ct(folder, fake):
    labels = read_labels("after.nii.gz")
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ [2, 2, 2]
    write_volume("cropped.nrrd", LabelVolume(np.ascontiguousarray(labels.array[2:20, 2:20, 2:18]), affine))
    assert cli.main(["edit", "ct.nii.gz", "labels.nii.gz", "cropped.nrrd", "-o", "out.nrrd"]) == 0
    assert fake.asked["labels"].same_grid(read_image("ct.nii.gz"))


def test_check_prints_a_table_or_json(folder, capsys):
    assert cli.main(["check", "ct.nii.gz", "labels.nii.gz"]) == 0
    assert "liver" in capsys.readouterr().out
    assert cli.main(["check", "ct.nii.gz", "labels.nii.gz", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["organs"][0]["median_hu"] == 50
    assert report["passed"] == 1


def test_devices_lists_the_cpu(capsys):
    assert cli.main(["devices"]) == 0
    assert "cpu" in capsys.readouterr().out


# ---- bad input


def refused(capsys, *arguments):
    """The one sentence that bad ``arguments`` get, after the exit code has been seen to be 2."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    *estimate, line = said.err.splitlines()
    assert line.startswith("maisi: ")
    assert all(told.startswith("Model ") for told in estimate)  # the estimate may stand before it, nothing else
    return line


def bad_labels(array, affine=AFFINE):
    write_volume("bad.nii.gz", LabelVolume(array, affine))


def empty():
    bad_labels(np.zeros((24, 24, 20), np.uint8))


def unknown_ids():
    bad_labels(np.tile(np.array([1, 140, 187], np.uint8), (24, 24, 8)))


def one_slice():
    bad_labels(np.ones((24, 24, 1), np.uint8))


def too_small():
    bad_labels(np.ones((24, 24, 20), np.uint8), np.eye(4))


def too_large():
    bad_labels(np.ones((24, 24, 20), np.uint8), np.diag([200.0, 200.0, 200.0, 1]))


def float_labels():
    write_volume("bad.nii.gz", ImageVolume(np.full((24, 24, 20), 0.5, np.float32), AFFINE))


def four_dimensions():
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8, 3), np.uint8), AFFINE), "bad.nii.gz")


def truncated():
    bad_labels(np.random.default_rng(0).integers(0, 100, (24, 24, 20), np.uint8))
    Path("bad.nii.gz").write_bytes(Path("bad.nii.gz").read_bytes()[:3000])


def missing():
    pass


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (empty, "empty"),
        (unknown_ids, "140, 187"),
        (one_slice, "single slice"),
        (too_small, "at least 32 mm"),
        (too_large, "spacing is given in mm"),
        (float_labels, "fractions"),
        (four_dimensions, "4 dimensions"),
        (truncated, "damaged or incomplete"),
        (missing, "no file"),
    ],
)
def test_bad_labels_get_one_sentence_and_nothing_is_written(folder, a_tiny_model, capsys, prepare, message):
    prepare()
    assert message in refused(capsys, "synthesize", "bad.nii.gz", "-o", "out.nii.gz", "--model", a_tiny_model)
    assert not Path("out.nii.gz").exists()


def test_too_much_for_the_memory_is_refused_after_the_estimate_is_told(folder, a_tiny_model, monkeypatch, capsys):
    monkeypatch.setattr("maisi.planning.free_memory_gb", lambda _: 0.01)
    sentence = refused(capsys, "synthesize", "labels.nii.gz", "-o", "out.nii.gz", "--model", a_tiny_model)
    assert "0.0 GB free" in sentence


def test_unknown_models_and_devices_are_told_with_those_there_are(folder, a_tiny_model, capsys):
    run = "synthesize", "labels.nii.gz", "-o", "out.nii.gz"
    assert "tiny" in refused(capsys, *run, "--model", "other")
    assert "cpu" in refused(capsys, *run, "--model", a_tiny_model, "--device", "abacus")


def test_labels_without_a_body_get_one_and_it_is_told(folder, a_tiny_model, capsys):
    labels = read_labels("labels.nii.gz")
    organs = np.where(labels.array == BODY, 0, labels.array).astype(np.uint8)
    write_volume("organs.nii.gz", LabelVolume(organs, AFFINE))
    assert cli.main(["synthesize", "organs.nii.gz", "-o", "out.nii.gz", "--model", a_tiny_model]) == 0
    assert "note: There is no body outline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "COMMAND"),
        ("synthesise labels.nii.gz", "invalid choice"),
        ("synthesize labels.nii.gz", "-o"),
        ("synthesize labels.nii.gz -o out.nii.gz --seed x", "--seed"),
        ("synthesize labels.nii.gz -o out.nii.gz --labels-from x", "--labels-from"),
        ("synthesize labels.nii.gz -o no/folder/out.nii.gz", "does not exist"),
        ("synthesize labels.nii.gz -o out.txt", "ending"),
        ("synthesize labels.nii.gz -o labels.nii.gz", "one of the inputs"),
        ("edit ct.nii.gz labels.nii.gz after.nii.gz -o ct.nii.gz", "one of the inputs"),
        ("check ct.nii.gz other.nii.gz", "different grids"),
        ("edit ct.nii.gz labels.nii.gz other.nii.gz -o out.nii.gz", "different grids"),
        ("check nothing.nii.gz labels.nii.gz", "no file"),
    ],
)
def test_bad_arguments_get_one_sentence(folder, capsys, arguments, message):
    bad = LabelVolume(np.ones((24, 24, 20), np.uint8), np.diag([2.0, 3.0, 4.0, 1.0]))
    write_volume("other.nii.gz", bad)
    before = Path("ct.nii.gz").read_bytes()
    assert message in refused(capsys, *arguments.split())
    assert Path("ct.nii.gz").read_bytes() == before


@pytest.mark.parametrize("error", [InputError("a"), WeightsError("a"), OutOfMemoryError("a")])
def test_expected_errors_are_one_sentence(folder, fake, capsys, error):
    fake.error = error
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out.nii.gz"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "maisi: a"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("a")])
def test_a_stop_is_told_and_leaves_nothing(folder, fake, capsys, error):
    fake.error = error
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out.nii.gz"]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not Path("out.nii.gz").exists()


def test_our_own_errors_show_where_they_happened(folder, fake, capsys):
    fake.error = ZeroDivisionError("oops")
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out.nii.gz"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_demo_without_slicer_core_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "MAISISynthLib.Demo", None)
    monkeypatch.setitem(sys.modules, "slicer", None)
    monkeypatch.setattr("builtins.__import__", _without_slicer(__import__))
    assert "slicer-core" in refused(capsys, "demo", "-o", str(tmp_path))


def _without_slicer(real):
    def imported(name, *rest):
        if name.startswith("MAISISynthLib"):
            raise ModuleNotFoundError("No module named 'slicer'", name="slicer")
        return real(name, *rest)

    return imported


def test_the_demo_gets_its_folder(monkeypatch, tmp_path):
    asked = []
    module = types.ModuleType("MAISISynthLib.Demo")
    module.main = asked.append
    monkeypatch.setitem(sys.modules, "MAISISynthLib", types.ModuleType("MAISISynthLib"))
    monkeypatch.setitem(sys.modules, "MAISISynthLib.Demo", module)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    assert asked == [tmp_path]


# ---- as a process


def run_maisi(*arguments, **options):
    command = [sys.executable, "-m", "maisi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_the_module_runs_as_a_program_without_torch(folder):
    done = run_maisi("check", "ct.nii.gz", "labels.nii.gz")
    assert done.returncode == 0
    assert "liver" in done.stdout
    script = "import sys, maisi.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_bad_input_of_the_program_has_exit_code_2(folder):
    done = run_maisi("check", "absent.nii.gz", "labels.nii.gz")
    assert done.returncode == 2
    assert done.stderr.strip() == "maisi: There is no file absent.nii.gz."


SHIPPED = Path(cli.__file__).parents[1] / "Resources" / "Models" / "embedded.json"


@pytest.fixture(
    params=[
        "tiny",
        pytest.param("embedded", marks=pytest.mark.skipif(not SHIPPED.exists(), reason="no model ships yet")),
    ]
)
def model(request, a_tiny_model):
    return request.param


def test_the_whole_way_synthesizes_edits_and_checks(folder, model):
    """A CT, then the same with a lesion; far from the lesion not one voxel differs."""
    settings = ("--steps", "2", "--seed", "1", "--model", model)
    made = run_maisi("synthesize", "labels.nii.gz", "-o", "first.nii.gz", *settings)
    assert made.returncode == 0, made.stderr
    edited = run_maisi("edit", "first.nii.gz", "labels.nii.gz", "after.nii.gz", "-o", "second.nii.gz", *settings)
    assert edited.returncode == 0, edited.stderr
    first, second = read_image("first.nii.gz"), read_image("second.nii.gz")
    assert first.same_grid(read_labels("labels.nii.gz"))
    assert np.array_equal(first.array[20:], second.array[20:])
    assert not np.array_equal(first.array[8:12, 8:12, 8:12], second.array[8:12, 8:12, 8:12])
    assert run_maisi("check", "second.nii.gz", "after.nii.gz", "--json").returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child")
def test_control_c_stops_a_long_run(folder, a_tiny_model):
    command = [sys.executable, "-m", "maisi", "synthesize", "labels.nii.gz", "-o", "out.nii.gz", "--steps", "1000"]
    process = subprocess.Popen([*command, "--model", a_tiny_model], stderr=subprocess.PIPE, text=True)
    while "sample" not in (line := process.stderr.readline()):
        assert line, "the program ended before its first step"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert not Path("out.nii.gz").exists()
