"""Every released architecture on the command line, with small networks and random weights."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from helpers.command_line import refused
from helpers.small_variants import RELEASED, write_small_variant
from maisi import cli
from maisi.files import read_image


@pytest.fixture(scope="module")
def small_variants(tmp_path_factory):
    """A models folder with a small edition of each released variant."""
    folder = tmp_path_factory.mktemp("variants")
    for name in RELEASED:
        write_small_variant(folder, name)
    return folder


@pytest.fixture(autouse=True)
def models(small_variants, monkeypatch):
    monkeypatch.setenv("MAISI_MODELS", str(small_variants))


FLOW = ("--steps", "2", "--seed", "1")
DDPM = ("--steps", "3", "--seed", "1", "--solver", "ddim")


@pytest.mark.parametrize(("name", "settings"), [("ddpm-ct", DDPM), ("rflow-ct", FLOW)])
def test_ct_models_follow_labels(folder, capsys, name, settings):
    run = "synthesize", "labels.nii.gz", "-o", "out.nii.gz", "--model", f"small-{name}", *settings
    assert cli.main(run) == 0
    assert "organs in HU range" in capsys.readouterr().out
    assert read_image("out.nii.gz").array.min() >= -1000


@pytest.mark.parametrize("name", ["rflow-mr", "rflow-mr-brain"])
def test_mr_models_make_mr_series_without_a_label_map(folder, capsys, name):
    size = ("--size", "32", "32", "32", "--spacing", "2", "2", "2")
    run = "generate", "-o", "out/", "--model", f"small-{name}", *size, "--modality", "t1", "--guidance", "2", *FLOW
    assert cli.main(run) == 0
    assert "organs" not in capsys.readouterr().out
    slice_ = pydicom.dcmread("out/0001.dcm")
    assert slice_.Modality == "MR"
    assert slice_.SeriesDescription.startswith("SYNTHETIC MR")
    assert not Path("out/segmentation").exists()
    made_with = json.loads(Path("out.json").read_text())
    assert made_with["request"]["options"]["modality"] == "t1"
    assert cli.main(["repeat", "out.json", "-o", "again.nii.gz"]) == 0
    assert "identical" in capsys.readouterr().out
    assert np.array_equal(read_image("again.nii.gz").array[:, :, 0].T, slice_.pixel_array)


def test_mr_models_refuse_a_label_map(folder, capsys):
    run = "synthesize", "labels.nii.gz", "-o", "out.nii.gz", "--model", "small-rflow-mr", *FLOW
    assert "without a label map only" in refused(capsys, *run)
