"""Bad input of the command line: one sentence, exit code 2, nothing written."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers.command_line import AFFINE, refused
from maisi import cli
from maisi.files import read_labels, write_volume
from maisi.labels import BODY
from maisi.volume import ImageVolume, LabelVolume


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
