"""A new lesion in an afternoon: a folder of a user's own cases becomes a model that the panel offers, by commands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.small_datasets import AFFINE, a_label_map, write_case
from helpers.tiny_model import write_tiny_model
from maisi import cli
from maisi.files import read_image, write_volume
from maisi.labels import LABELS, LESIONS
from maisi.models.variants import get_variant
from maisi.new_classes import NewClass
from maisi.train.config import make_config
from maisi.train.data import batches
from maisi.volume import LabelVolume
from MAISILib.ModelTable import modelTable

NEW = 133


@pytest.fixture
def a_folder_of_cases(tmp_path, monkeypatch):
    """Kidneys with a lesion that the vocabulary does not have, painted as 1 and nothing else; organs apart."""
    for number in range(6):
        lesion = np.roll(a_label_map(14, NEW) == NEW, number % 3, axis=0)
        write_case(tmp_path / f"cases/case{number}", number, labels=lesion.astype(np.uint8))
        organs = np.where(a_label_map(14, 14) > 0, 14, 0).astype(np.uint8)
        (tmp_path / "organs").mkdir(exist_ok=True)
        write_volume(tmp_path / f"organs/case{number}.nii.gz", LabelVolume(organs, AFFINE))
    write_tiny_model(tmp_path / "models")
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(command: str) -> None:
    assert cli.main(command.replace("AML", "renal_angiomyolipoma").split()) == 0


def test_from_a_folder_to_the_panel(a_folder_of_cases, capsys):
    small = "--device cpu --multiple 32 --min-slices 8 --copies none"
    named = "--map 1=133 --new-label AML=133:kidney --pseudo-labels organs"
    done(f"prepare cases -o prepared --model tiny {named} {small}")
    assert "6 with latents" in capsys.readouterr().out
    quick = "--set run.epochs=null --set run.steps=2 --set run.device=cpu --set run.precision=float32"
    done(f"train controlnet-new-lesion --run run --launcher here --set data.prepared=prepared "
         f"--set network.model=tiny {quick}")  # fmt: skip

    config = make_config(json.loads((a_folder_of_cases / "run/run.json").read_text())["config"])
    batch = next(iter(batches(config.data, "paired", 0, 1, seed=1)))
    assert set(batch["labels"].unique().tolist()) == {0, 14, NEW, 200}
    assert set(batch["healed"][batch["labels"] == NEW].unique().tolist()) == {14}

    done("train export run --name mine --title Ours")
    row = next(row for row in modelTable().rows if row.name == "mine")
    assert (row.title, row.installed, row.fromLabels) == ("Ours", True, True)
    assert get_variant("mine").classes == (NewClass(NEW, "renal_angiomyolipoma", (5, 14)),)
    assert NEW in LESIONS
    assert LABELS[NEW].name == "renal_angiomyolipoma"
    write_volume("labels.nii.gz", LabelVolume(np.repeat(np.repeat(a_label_map(14, NEW), 2, 0), 2, 1), AFFINE))
    done("synthesize labels.nii.gz -o ct.nii.gz --model mine --device cpu")
    assert read_image(a_folder_of_cases / "ct.nii.gz").array.std() > 0
