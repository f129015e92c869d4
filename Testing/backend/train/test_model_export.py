"""From runs to a model: listed, loaded and used by the engine, with its lesion classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from helpers.tiny_stages import tiny_config, tiny_stage, write_random_weights
from maisi.cli import main
from maisi.errors import InputError
from maisi.labels import find_label, remove_lesions
from maisi.models.store import stored, verify
from maisi.models.variants import variants
from maisi.models.weights import load_networks
from maisi.new_classes import NewClass
from maisi.synthesis import synthesize
from maisi.train.model_export import export_model
from maisi.train.run_folder import RunFolder
from maisi.volume import LabelVolume

CYST = NewClass(250, "renal angiomyolipoma", (5, 14))


@pytest.fixture(autouse=True)
def a_models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))


@pytest.fixture
def prepared(tmp_path):
    """A prepared data set with a class of its own, as far as an export reads it."""
    from helpers.prepared_folder import write_prepared

    return write_prepared(tmp_path / "prepared", [], classes=(CYST,))


def a_run(tmp_path, stage, prepared, *roles, **weights):
    """The folder of a run that trained ``roles``."""
    config = tiny_config(stage, prepared, weights={role: str(path) for role, path in weights.items()})
    run = RunFolder(tmp_path / stage)
    run.create({"config": config.model_dump(mode="json")})
    write_random_weights(run.path, config, *roles, scale_factor=1.25)
    return run.path


@pytest.fixture
def runs(tmp_path, prepared):
    """Runs of all three networks; the ControlNet's is what its stage exports."""
    autoencoder = a_run(tmp_path, "autoencoder", prepared, "autoencoder")
    unet = a_run(tmp_path, "diffusion", prepared, "unet", autoencoder=autoencoder)
    controlnet = a_run(tmp_path, "controlnet", prepared, autoencoder=autoencoder, unet=unet)
    config = RunFolder(controlnet).facts()["config"]
    stage = tiny_stage(tiny_config("controlnet", prepared, weights=config["network"]["weights"], initial_output=0.05))
    stage.export(controlnet / "weights")
    return autoencoder, unet, controlnet


def test_the_last_run_brings_the_others(runs):
    path = export_model(runs[-1:], "mine", "My model")
    variant = variants()["mine"]
    assert (variant.title, variant.license) == ("My model", "Apache-2.0")
    assert stored(variant).installed
    assert all(found[1] for found in verify(variant))
    assert variant.scale_factor == 1.25
    networks = load_networks(variant, torch.device("cpu"))
    trained = tiny_stage(tiny_config("controlnet", runs[0], weights={"unet": str(runs[1]), "controlnet": str(runs[2])}))
    for mine, other in ((networks.unet, trained.unet), (networks.controlnet, trained.controlnet)):
        for name, tensor in mine.state_dict().items():
            torch.testing.assert_close(tensor, other.state_dict()[name].half().float())
    assert json.loads(path.read_text())["training"]["runs"][0]["config"]["stage"] == "controlnet"


def test_the_model_makes_images_with_the_new_class(runs, capsys):
    assert main(["train", "export", *map(str, runs), "--name", "mine"]) == 0
    assert main(["models"]) == 0
    assert "mine" in capsys.readouterr().out
    assert variants()["mine"].classes == (CYST,)
    assert find_label("renal angiomyolipoma") == CYST.id
    array = np.full((32, 32, 32), 200, np.uint8)
    array[8:24, 8:24, 8:24] = 5
    array[12:18, 12:18, 12:18] = CYST.id
    labels = LabelVolume(array, np.diag([3.0, 3.0, 3.0, 1.0]))
    image = synthesize(labels, model="mine", steps=2).image
    assert image.array.shape == labels.array.shape
    assert (remove_lesions(array) == 5)[12:18, 12:18, 12:18].all()


def test_names_of_others_are_not_taken(runs):
    export_model(runs, "mine")
    for name in ("mine", "embedded"):
        with pytest.raises(InputError, match="There is a model called"):
            export_model(runs, name)
    export_model(runs, "mine", replace=True)
    with pytest.raises(InputError, match="cannot be a model's name"):
        export_model(runs, "../mine")


def test_runs_without_weights_get_a_sentence(tmp_path, prepared):
    with pytest.raises(InputError, match="no run with weights"):
        export_model([tmp_path], "mine")
    masks = a_run(tmp_path, "mask_autoencoder", prepared, "mask_autoencoder")
    with pytest.raises(InputError, match="make no image by themselves"):
        export_model([masks], "mine")
