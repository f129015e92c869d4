"""What is measured of a model: its autoencoder and its solver."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.metrics import SSIMMetric

from helpers.command_line import refused, refused_at_work
from helpers.small_cts import noise_ct, write_ct
from maisi import cli
from maisi.evaluate.reconstruction import compare
from maisi.evaluate.steps import phantoms_with_tumor
from maisi.files import write_volume
from maisi.models.features import load_features
from maisi.volume import LabelVolume


def test_distances_are_those_of_the_textbook(a_network):
    network = load_features(a_network)
    first = noise_ct(0).astype(np.float32)
    second = np.clip(first + 20, -1000, 1000)
    found = compare(first, second, network, batch=4)
    assert found["mae_hu"] == pytest.approx(np.abs(second - first).mean(), rel=1e-5)
    assert found["psnr_db"] == pytest.approx(20 * np.log10(2000 / np.sqrt(((second - first) ** 2).mean())), rel=1e-5)
    tensors = [torch.from_numpy((v + 1000) / 2000)[None, None] for v in (first, second)]
    assert found["ssim"] == pytest.approx(float(SSIMMetric(3)(*tensors)), rel=1e-6)
    assert found["perceptual"] > 0
    same = compare(first, first, network, batch=100)
    assert (same["mae_hu"], same["perceptual"]) == (0, 0)
    assert same["ssim"] == pytest.approx(1)


def test_a_reconstruction_is_measured_on_every_ct(tmp_path, a_network, a_tiny_model, capsys):
    for seed in range(2):
        write_ct(tmp_path / "cts" / f"{seed}.nii.gz", noise_ct(seed, (34, 32, 30)))
    out = tmp_path / "out.json"
    command = ["evaluate", "reconstruction", str(tmp_path / "cts"), "--model", "tiny", "--network", a_network]
    assert cli.main([*command, "--device", "cpu", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [case["case"] for case in found["details"]] == ["0", "1"]
    assert found["mean"]["mae_hu"] == pytest.approx(np.mean([case["mae_hu"] for case in found["details"]]))
    assert found["mean"]["mae_hu"] > 10  # random weights
    assert found["network"].startswith("small (")
    assert "PERCEPTUAL (small (" in capsys.readouterr().out


def test_steps_come_closer_to_the_fine_solution(tmp_path, a_vivid_model, capsys):
    labels = phantoms_with_tumor(1, 32, 6.0)[0]
    write_volume(tmp_path / "labels.nii.gz", labels)
    out = tmp_path / "out.json"
    command = ["evaluate", "steps", str(tmp_path / "labels.nii.gz"), "--model", "vivid", "--time-grid", "clean"]
    ways = "euler:2,euler:16,adams-bashforth:16,heun:12"
    assert cli.main([*command, "--tried", ways, "--fine", "heun:12", "--json", str(out)]) == 0
    few, many, better, same = json.loads(out.read_text())["ways"]
    assert few["latents"] > many["latents"] > better["latents"] > same["latents"] == 0
    assert (many["calls"], same["calls"]) == (16, 24)
    assert same["lesion_hu"] == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("euler")


def test_a_map_without_lesions_has_no_figure_for_them(tmp_path, a_tiny_model):
    labels = phantoms_with_tumor(1, 32, 6.0)[0]
    plain = LabelVolume(np.where(labels.array > 0, 200, 0).astype(np.uint8), labels.affine)
    write_volume(tmp_path / "labels.nii.gz", plain)
    out = tmp_path / "out.json"
    command = ["evaluate", "steps", str(tmp_path / "labels.nii.gz"), "--model", "tiny", "--json", str(out)]
    assert cli.main([*command, "--tried", "euler:1", "--fine", "euler:2"]) == 0
    assert json.loads(out.read_text())["ways"][0]["lesion_hu"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("reconstruction absent", "no folder absent"),
        ("reconstruction cts --model nothing", "nothing"),
        ("reconstruction cts --model rflow-mr", "makes no CT"),
        ("reconstruction cts --network absent", "no feature network absent"),
        ("reconstruction cts --batch 0", "at least 1"),
        ("steps --tried magic:3", "'magic:3' is not a solver"),
        ("steps --tried euler", "'euler' is not a solver"),
        ("steps --tried euler:0", "'euler:0' is not a solver"),
        ("steps --fine euler:many", "'euler:many' is not a solver"),
        ("steps --phantoms 0", "1 to 1000 phantoms"),
        ("steps --size 8", "32 to 512"),
        ("steps absent.nii.gz", "no file absent.nii.gz"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, capsys, monkeypatch, a_network, a_tiny_model, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    write_ct(tmp_path / "cts" / "0.nii.gz", noise_ct(0))
    usual = ["--network", a_network] if "reconstruction" in arguments and "--network" not in arguments else []
    assert sentence in refused(capsys, "evaluate", *arguments.split(), *usual)


def test_a_ct_that_is_too_small_is_told(tmp_path, capsys, a_network, a_tiny_model):
    write_ct(tmp_path / "cts" / "0.nii.gz", noise_ct(0, (16, 16, 6)), np.diag([6.0, 6.0, 6.0, 1.0]))
    command = "reconstruction", str(tmp_path / "cts"), "--model", "tiny", "--network", a_network
    assert "too small; SSIM needs 11" in refused_at_work(capsys, "evaluate", *command)
