"""Lesion fidelity: contrasts as they were put in, judged by sign and size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from helpers.command_line import refused, refused_at_work
from helpers.small_cts import AFFINE, write_ct, write_torchscript
from maisi import cli
from maisi.checks.fidelity import read_lesions
from maisi.files import write_volume
from maisi.volume import ImageVolume, LabelVolume

LIVER, TUMOR, KIDNEY, CYST = 1, 26, 5, 117
HOST_HU = {0: -1000, LIVER: 100, KIDNEY: 180}


def ball(center, radius, shape=(30, 24, 20)) -> np.ndarray:
    """Mask of the voxels within ``radius`` voxels of ``center``."""
    return sum((x - c) ** 2 for x, c in zip(np.ogrid[tuple(map(slice, shape))], center, strict=True)) <= radius**2


def a_map(*lesions: tuple[tuple, float]) -> np.ndarray:
    """A liver with tumors, and a kidney with a cyst of 4 voxels radius."""
    labels = np.zeros((30, 24, 20), np.uint8)
    labels[2:20, 2:22, 2:18], labels[20:29, 2:22, 2:18] = LIVER, KIDNEY
    for center, radius in lesions:
        labels[ball(center, radius)] = TUMOR
    labels[ball((24, 10, 10), 3)] = CYST
    return labels


def a_ct(labels: np.ndarray, contrast: float, noise: float = 0, seed: int = 0) -> np.ndarray:
    """HU in which tumors differ from the liver, and cysts from the kidney, by ``contrast``."""
    hu = np.zeros(labels.shape)
    for id_, value in {**HOST_HU, TUMOR: 100 + contrast, CYST: 180 + contrast}.items():
        hu[labels == id_] = value
    return hu + noise * np.random.default_rng(seed).standard_normal(labels.shape)


def write_case(folder, name: str, labels: np.ndarray, hu: np.ndarray) -> None:
    write_ct(folder / f"{name}.nii.gz", hu)
    write_volume(folder / f"{name}_label.nii.gz", LabelVolume(labels, AFFINE))


def test_contrast_and_diameter_are_what_was_put_in():
    labels = a_map(((6, 8, 8), 2.5), ((14, 14, 10), 4))
    image = ImageVolume(a_ct(labels, -50, noise=5), AFFINE)
    small, large, cyst = read_lesions(image, LabelVolume(labels, AFFINE))
    assert [r.name for r in (small, large, cyst)] == ["hepatic tumor", "hepatic tumor", "right kidney cyst"]
    for reading, radius in ((small, 2.5), (large, 4), (cyst, 3)):
        assert reading.contrast_hu == pytest.approx(-50, abs=3)
        assert reading.diameter_mm == pytest.approx(2 * radius * 3, rel=0.1)
        assert reading.dice > 0.97
    assert large.host_hu == pytest.approx(100, abs=1)


def test_a_lesion_that_is_not_there_or_elsewhere_has_a_low_dice():
    labels = a_map(((8, 8, 8), 3))
    absent = ImageVolume(a_ct(labels, 0, noise=5), AFFINE)
    moved = ImageVolume(a_ct(np.roll(labels, 3, axis=1), -50, noise=5), AFFINE)
    for image in (absent, moved):
        assert read_lesions(image, LabelVolume(labels, AFFINE))[0].dice < 0.6


def test_a_lesion_without_host_around_it_is_not_read():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[4:8, 4:8, 4:8] = TUMOR
    assert read_lesions(ImageVolume(np.zeros(labels.shape), AFFINE), LabelVolume(labels, AFFINE)) == []


def test_a_set_is_judged_by_a_reference(tmp_path, capsys):
    labels = a_map(((6, 8, 8), 3), ((14, 14, 10), 4), ((4, 18, 15), 1))
    for number, contrast in enumerate((-60, -36, -20, 30)):
        write_case(tmp_path / "made", str(number), labels, a_ct(labels, contrast))
    write_case(tmp_path / "real", "0", labels, a_ct(labels, -50))
    out = tmp_path / "out.json"
    command = ["evaluate", "fidelity", str(tmp_path / "made"), "--reference", str(tmp_path / "real")]
    assert cli.main([*command, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    tumor = found["lesions"]["hepatic tumor"]
    assert (tumor["count"], tumor["right_sign"], tumor["right_size"]) == (8, 6, 4)  # not the one of 1 voxel radius
    assert tumor["expected_hu"] == -50
    assert found["lesions"]["all"]["count"] == 12
    assert len(found["details"]) == 16
    table = capsys.readouterr().out
    assert "hepatic tumor" in table
    assert "6 of 8 (75%)" in table


def test_without_a_reference_the_usual_sign_is_judged_only(tmp_path, capsys):
    labels = a_map(((14, 14, 10), 4))
    write_case(tmp_path / "made", "0", labels, a_ct(labels, -5))
    assert cli.main(["evaluate", "fidelity", str(tmp_path / "made")]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("hepatic"))
    assert row.split()[2:] == ["1", "-5.0", "-", "1", "of", "1", "(100%)", "-", "1.00"]


class _Dark(nn.Module):
    """Class 2 is what has less than 70 HU; of an input from -200 to 300 HU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dark = (x < 0.54).float()
        return torch.cat((1 - dark, torch.zeros_like(x), 2 * dark), 1)


def test_a_segmenter_of_the_user_takes_the_place_of_the_threshold(tmp_path):
    labels = a_map(((14, 14, 10), 4))
    flipped = np.diag([-3.0, 3.0, 3.0, 1.0])
    folder = tmp_path / "made"
    write_ct(folder / "0.nii.gz", a_ct(labels, -50), flipped)
    write_volume(folder / "0_label.nii.gz", LabelVolume(labels, flipped))
    network = write_torchscript(tmp_path / "dark.pt", _Dark())
    out = tmp_path / "out.json"
    command = ["evaluate", "fidelity", str(folder), "--segmenter", str(network), "--json", str(out)]
    for number, dice in (("2", 1.0), ("0", 0.0)):
        assert cli.main([*command, "--segmenter-class", number, "--segmenter-window", "-200", "300"]) == 0
        found = json.loads(out.read_text())
        assert found["lesions"]["hepatic tumor"]["dice"] == dice
        assert found["dice_of"].startswith("dark (")


def test_a_set_without_lesions_to_judge_is_told(tmp_path, capsys):
    labels = a_map(((14, 14, 10), 4))
    write_case(tmp_path / "made", "0", labels, a_ct(labels, -5))
    write_case(tmp_path / "healthy", "0", np.full_like(labels, LIVER), a_ct(labels, 0))
    command = "evaluate", "fidelity", str(tmp_path / "made"), "--min-mm", "80"
    assert "None of 2 lesions" in refused_at_work(capsys, *command)
    assert "None of 0 lesions" in refused_at_work(capsys, "evaluate", "fidelity", str(tmp_path / "healthy"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("absent", "no folder absent"),
        ("plain", "no label maps"),
        ("made --reference absent", "no folder absent"),
        ("made --segmenter made/0.nii.gz", "not a TorchScript network"),
        ("made --segmenter dark.pt --segmenter-class 3", "there is no class 3"),
        ("made --segmenter dark.pt --segmenter-window 3 1", "lower to a higher"),
        ("made --segmenter wrong.pt", "fails on"),
        ("odd", "different grids"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    labels = a_map(((14, 14, 10), 4))
    write_case(tmp_path / "made", "0", labels, a_ct(labels, -5))
    write_ct(tmp_path / "plain" / "0.nii.gz", a_ct(labels, -5))
    write_case(tmp_path / "odd", "0", labels[1:, 1:, 1:].copy(), a_ct(labels, -5))
    write_volume(tmp_path / "odd" / "0_label.nii.gz", LabelVolume(labels, np.diag([2.0, 2.0, 2.0, 1.0])))
    write_torchscript(tmp_path / "dark.pt", _Dark())
    write_torchscript(tmp_path / "wrong.pt", nn.Conv3d(2, 1, 3))
    assert sentence in refused(capsys, "evaluate", "fidelity", *arguments.split())
