"""Series from the scene: real processes with tiny networks, and what the job tells about them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from helpers.processes import waitUntil
from helpers.slicer_core import addVolume, contents, slicer
from helpers.tiny_model import write_tiny_model
from maisi.cli import _parser
from maisi.commands.options import read_options
from maisi.commands.vary import _request
from maisi.errors import InputError
from maisi.files import read_image, read_labels
from maisi.labels import find_label
from maisi.options import Options
from maisi.vary.folder import SeriesFolder
from maisi.vary.series import SeriesRequest
from maisi.volume import ImageVolume
from MAISILib.Interpreter import Interpreter, backendFolder
from MAISILib.Job import JobCancelled, JobError
from MAISISynthLib import VaryLogic as varyLogic
from MAISISynthLib.VaryLogic import VaryLogic, commandArguments

SERIES = {"cases": 3, "organs": ["liver"], "sizes_mm": [9], "model": "tiny", "steps": 1, "seed": 5}
TUMOR = find_label("hepatic tumor")


@pytest.fixture
def a_logic(tmp_path_factory, monkeypatch):
    """With a model that runs in a moment."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_model(folder)
    monkeypatch.setenv("MAISI_MODELS", str(folder))
    return VaryLogic()


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Where jobs keep their temporary files; must be empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(varyLogic.tempfile, "tempdir", str(folder))
    return folder


class Script(Interpreter):
    """Runs ``code`` instead of the command line of ``maisi``."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", self._code, *arguments]


def test_a_ct_and_its_segmentation_become_a_data_set(
    a_logic, a_volume, a_segmentation_with_liver_and_tumor, a_liver_with_tumor, tmp_path, folders
):
    slicer.util.updateVolumeFromArray(a_volume, slicer.util.arrayFromVolume(a_volume) - 60)  # fat
    before = contents(slicer.mrmlScene)
    job = a_logic.start(a_segmentation_with_liver_and_tumor, tmp_path / "out", a_volume, **SERIES)
    status = job.wait(120)
    assert (job.state, status.total, status.done, status.errors) == ("done", 3, 3, {})
    assert (job.progress.step, job.progress.total) == (3, 3)
    assert list(folders.iterdir()) == [], "no temporary file is left"
    assert contents(slicer.mrmlScene) == before, "nothing in the scene has changed"
    out = SeriesFolder(tmp_path / "out")
    planned = a_logic.plan(
        a_segmentation_with_liver_and_tumor, a_volume, cases=3, organs=["liver"], sizes_mm=[9], seed=5
    )
    for item in planned:
        record = out.read_record(item.case)
        assert record["variation"] == json.loads(json.dumps(item.to_json()))["variation"]
        assert read_image(out.image(item.case)).same_grid(a_liver_with_tumor)
    assert [item.variation is None for item in planned] == [True, False, False]
    with pytest.raises(JobError, match="holds another series"):
        a_logic.start(a_segmentation_with_liver_and_tumor, tmp_path / "out", a_volume, **{**SERIES, "seed": 6}).wait(60)


def test_volumes_arrive_as_they_are(a_liver_with_tumor, an_oblique_affine, tmp_path):
    varyLogic._save(tmp_path / "labels.nrrd", a_liver_with_tumor)
    labels = read_labels(tmp_path / "labels.nrrd")
    assert labels.same_grid(a_liver_with_tumor, tolerance_mm=1e-6)
    assert np.array_equal(labels.array, a_liver_with_tumor.array)
    values = np.random.default_rng(0).integers(-1024, 3000, (5, 6, 7)).astype(">i2")
    varyLogic._save(tmp_path / "ct.nrrd", ImageVolume(values, an_oblique_affine))
    assert np.array_equal(read_image(tmp_path / "ct.nrrd").array, values)


@pytest.mark.parametrize(
    "wanted",
    [
        {"cases": 4},
        {"cases": 9, "organs": ["left kidney", "liver"], "lesions": ["kidney tumor"], "sizes_mm": [9, 20.5], "seed": 3},
        {"cases": 9, "shapes": 1, "places": 4, "backgrounds": 2, "baselines": False, "keep_lesions": True},
        {"cases": 9, "classes": "lesions"},
    ],
)
def test_the_command_line_understands_what_it_is_told(wanted):
    request = SeriesRequest(**wanted)
    options = Options(seed=request.seed, steps=3, guidance=1.5, regions=("chest", "abdomen"), compiled=True)
    given = _parser().parse_args(["vary", "labels.nrrd", "--output=out", *commandArguments(request, options)])
    assert _request(given) == request
    assert read_options(given) == options


def test_cancel_keeps_what_is_complete(a_logic, a_segmentation_with_liver_and_tumor, tmp_path, folders):
    job = a_logic.start(a_segmentation_with_liver_and_tumor, tmp_path / "out", **{**SERIES, "cases": 200})
    waitUntil(lambda: (job.poll(), job.status.done >= 1)[1], 60)
    job.cancel()
    assert job.state == "cancelled"
    assert list(folders.iterdir()) == []
    assert 1 <= SeriesFolder(tmp_path / "out").status().done < 200
    with pytest.raises(JobCancelled):
        job.wait()


def test_cases_that_failed_are_told(a_logic, a_segmentation_with_liver_and_tumor, tmp_path):
    code = "import sys; print('note: x'); print('maisi: 2 cases are missing.', file=sys.stderr); sys.exit(2)"
    job = VaryLogic(Script(code)).start(a_segmentation_with_liver_and_tumor, tmp_path / "out", **SERIES)
    with pytest.raises(JobError, match=r"^2 cases are missing\.$"):
        job.wait(60)
    assert "note: x" in job.log


def test_a_process_that_dies_without_a_word_is_told(a_segmentation_with_liver_and_tumor, tmp_path):
    job = VaryLogic(Script("import os; os._exit(7)")).start(
        a_segmentation_with_liver_and_tumor, tmp_path / "out", **SERIES
    )
    with pytest.raises(JobError, match="exit code 7"):
        job.wait(60)


def test_bad_input_is_told_before_a_process_starts(a_segmentation_with_liver_and_tumor, a_volume, tmp_path, folders):
    logic = VaryLogic(Script("raise SystemExit('must not start')"))
    node = a_segmentation_with_liver_and_tumor
    elsewhere = addVolume(np.zeros((8, 8, 8), np.int16), np.eye(4), "Elsewhere")
    for change, message in (
        ({"cases": 0}, "from 1 to 100000"),
        ({"organs": ["elbow"]}, "no organ called 'elbow'"),
        ({"colour": "red"}, "no option called colour"),
        ({"steps": 0}, "number of steps"),
        ({"volumeNode": elsewhere}, "'Elsewhere' is on another grid"),
        ({"volumeNode": a_volume, "backgrounds": 2}, "one background"),
    ):
        with pytest.raises(InputError, match=message):
            logic.start(node, tmp_path / "out", **{**SERIES, **change})
    with pytest.raises(InputError, match="Choose a segmentation"):
        logic.start(None, tmp_path / "out", **SERIES)
    assert list(folders.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_the_application_needs_only_what_slicer_has():
    unwanted = ("torch", "monai", "nibabel", "SimpleITK", "tqdm")
    code = f"import sys, MAISISynthLib.VaryLogic; print(*(set({unwanted}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=backendFolder())
    assert run.stdout.split() == []
