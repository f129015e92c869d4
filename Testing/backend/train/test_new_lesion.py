"""A new lesion in an afternoon: a folder of a user's own cases becomes a model that knows the lesion."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_datasets import AFFINE, a_label_map, write_case
from helpers.tiny_stages import CPU
from maisi import cli
from maisi.files import read_image, write_volume
from maisi.labels import LABELS, LESIONS
from maisi.models.variants import get_variant
from maisi.new_classes import NewClass
from maisi.train.config import make_config
from maisi.train.data import batches
from maisi.train.model_export import export_model
from maisi.train.ranks import Ranks
from maisi.train.run_folder import RunFolder
from maisi.train.stages import make_stage
from maisi.train.trainer import train
from maisi.volume import LabelVolume

NEW = 133


@pytest.fixture
def a_folder_of_cases(tmp_path):
    """Kidneys with a lesion that the vocabulary does not have, painted as 1 and nothing else; organs apart."""
    for number in range(6):
        lesion = np.roll(a_label_map(14, NEW) == NEW, number % 3, axis=0)
        write_case(tmp_path / f"cases/case{number}", number, labels=lesion.astype(np.uint8))
        organs = np.where(a_label_map(14, 14) > 0, 14, 0).astype(np.uint8)
        (tmp_path / "organs").mkdir(exist_ok=True)
        write_volume(tmp_path / f"organs/case{number}.nii.gz", LabelVolume(organs, AFFINE))
    return tmp_path


def test_from_a_folder_to_a_model_that_makes_the_new_lesion(a_folder_of_cases, a_models_folder, monkeypatch, capsys):
    folder = a_folder_of_cases
    (folder / "models").mkdir()
    for file in a_models_folder.glob("tiny.*"):
        (folder / "models" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv("MAISI_MODELS", str(folder / "models"))
    monkeypatch.chdir(folder)
    options = "--pseudo-labels organs --map 1=133 --model tiny --device cpu --multiple 32 --min-slices 8 --copies none"
    told = ["prepare", "cases", "-o", "prepared", "--new-label", "renal angiomyolipoma=133:kidney", *options.split()]
    assert cli.main(told) == 0
    assert "6 with latents" in capsys.readouterr().out

    config = make_config(
        {
            "stage": "controlnet",
            "run": {"steps": 2, "precision": "float32", "device": "cpu", "validate_every": 2},
            "data": {"prepared": "prepared", "workers": 0},
            "network": {"model": "tiny", "weights": dict.fromkeys(("autoencoder", "unet", "controlnet"), "model")},
        }
    )
    batch = next(iter(batches(config.data, "paired", 0, 1, seed=1)))
    assert set(batch["labels"].unique().tolist()) == {0, 14, NEW, 200}
    assert set(batch["healed"][batch["labels"] == NEW].unique().tolist()) == {14}
    run = RunFolder(folder / "run")
    run.create({"config": config.model_dump(mode="json")})
    assert train(make_stage(config, CPU), config, run, Ranks(0, 1, CPU)) == "finished"

    export_model([folder / "run"], "mine")
    assert get_variant("mine").classes == (NewClass(NEW, "renal angiomyolipoma", (5, 14)),)
    assert NEW in LESIONS
    assert LABELS[NEW].name == "renal angiomyolipoma"
    write_volume("labels.nii.gz", LabelVolume(np.repeat(np.repeat(a_label_map(14, NEW), 2, 0), 2, 1), AFFINE))
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "ct.nii.gz", "--model", "mine", "--device", "cpu"]) == 0
    assert read_image("ct.nii.gz").array.std() > 0
