"""A new lesion in an afternoon: from a folder of cases to a model that the panel lists, by the commands of the README."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_datasets import SHAPE, a_label_map, write_nnunet
from helpers.tiny_model import write_tiny_model
from maisi.cli import main
from maisi.files import read_image, write_volume
from maisi.models.variants import get_variant
from maisi.volume import LabelVolume
from MAISILib.ModelTable import modelTable

NAME, ID = "hepatic angiomyolipoma", 250


@pytest.fixture
def a_models_folder(tmp_path, monkeypatch):
    """The user's models folder, with a small model to begin with."""
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    write_tiny_model(tmp_path / "models", "base")


def done(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def test_from_a_folder_of_cases_to_the_panel(tmp_path, a_models_folder, capsys):
    cases, prepared, run = (tmp_path / name for name in ("cases", "prepared", "run"))
    write_nnunet(cases, {"background": 0, "liver": 1, NAME: 2}, count=3)
    sizes = ["--multiple", 16, "--min-slices", 8, "--copies", "none"]
    done("prepare", cases, "-o", prepared, "--model", "base", "--new-label", f"{NAME}={ID}:liver", *sizes)
    changes = [f"data.prepared={prepared}", "network.model=base", "run.epochs=null", "run.steps=3", "run.device=cpu"]
    words = [word for change in changes for word in ("--set", change)]
    done("train", "controlnet-new-lesion", "--run", run, "--launcher", "here", *words)
    done("train", "export", run, "--name", "mine", "--title", "Ours")

    row = next(row for row in modelTable() if row.name == "mine")
    assert (row.title, row.installed, row.fromLabels) == ("Ours", True, True)
    (known,) = get_variant("mine").classes
    assert (known.id, known.name, known.hosts) == (ID, NAME, (1,))
    labels = LabelVolume(np.pad(a_label_map(1, ID), 8), np.diag([3.0, 3.0, 3.0, 1.0]))
    write_volume(tmp_path / "labels.nii.gz", labels)
    done("synthesize", tmp_path / "labels.nii.gz", "-o", tmp_path / "ct.nii.gz", "--model", "mine", "--steps", 2)
    assert read_image(tmp_path / "ct.nii.gz").shape == tuple(n + 16 for n in SHAPE)
    assert "mine" in capsys.readouterr().out
