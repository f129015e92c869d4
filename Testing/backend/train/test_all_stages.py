"""The whole way: every stage trains on a prepared data set in the real loop, and the result is a model."""

from __future__ import annotations

import json

import pytest

from helpers.prepared_folder import an_item, write_prepared
from helpers.tiny_stages import CPU, tiny_config
from helpers.training import wait_for_end
from maisi.errors import InputError
from maisi.models.variants import variants
from maisi.train.config import make_config
from maisi.train.launch import Processes, launch
from maisi.train.metrics import Metrics
from maisi.train.model_export import export_model
from maisi.train.ranks import Ranks
from maisi.train.run_folder import RunFolder
from maisi.train.stages import make_stage
from maisi.train.trainer import train

ALONE = Ranks(0, 1, CPU)
QUICK = {"discriminator_channels": 4, "discriminator_layers": 1, "perceptual_weight": 0}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two cases to train with and one held out, each without and with a lesion."""
    items = []
    for number in range(3):
        healthy = an_item(number, fold=int(number > 0))
        items += [healthy, an_item(number + 10, case=healthy.case, fold=healthy.fold, pair=healthy.id)]
    return write_prepared(tmp_path_factory.mktemp("prepared"), items)


def trained(folder, stage, prepared, weights=(), processes=1, **settings):
    """The folder of a run of three steps of ``stage``, in this process or in several that torchrun starts."""
    weights = {role: str(run) for role, run in dict(weights).items()}
    values = tiny_config(stage, prepared, weights=weights, **settings).model_dump(mode="json")
    values["run"] |= {"steps": 3, "validate_every": 3, "log_every": 1, "preview_every": 3}
    values["data"] |= {"patch": [16, 16, 16]}
    config = make_config(values)
    run = RunFolder(folder / f"{stage}{len(list(folder.iterdir()))}")
    run.create({"config": config.model_dump(mode="json")})
    if processes == 1:
        assert train(make_stage(config, CPU), config, run, ALONE) == "finished"
    else:
        launch(run, Processes(processes))
        assert wait_for_end(run, 180).state == "finished", run.log_tail()
    return run.path


@pytest.mark.parametrize("processes", [1, 2])
def test_every_stage_trains_and_the_networks_become_a_model(tmp_path, prepared, monkeypatch, processes):
    together = {"processes": processes}
    runs = tmp_path / "runs"
    runs.mkdir()
    autoencoder = trained(runs, "autoencoder", prepared, **QUICK, **together)
    unet = trained(runs, "diffusion", prepared, {"autoencoder": autoencoder}, **together)
    again = trained(runs, "diffusion", prepared, {"unet": unet})
    networks = {"autoencoder": autoencoder, "unet": again}
    controlnet = trained(runs, "controlnet", prepared, networks, **together)
    masks = trained(runs, "mask_autoencoder", prepared, **together)
    sizes = trained(runs, "mask_diffusion", prepared, {"mask_autoencoder": masks}, **together)
    percentiles = json.loads((sizes / "weights" / "organ_sizes.json").read_text())["percentiles_ml"]
    assert (len(percentiles), len(percentiles[1]), percentiles[4][0]) == (10, 101, None)
    assert percentiles[1][50] == pytest.approx(14**3 * 1.5 * 1.5 * 2 / 1000, rel=0.1)  # liver
    for run in runs.iterdir():
        metrics = Metrics(run / "metrics.jsonl")
        metrics.poll()
        assert {row["split"] for row in metrics.rows} == {"train", "validation"}
    assert sorted(path.name for path in (autoencoder / "previews").iterdir()) == [
        "step_00000003_original.nii.gz",
        "step_00000003_reconstruction.nii.gz",
    ]
    for run in (unet, controlnet):
        assert (run / "previews" / "step_00000003_sample.nii.gz").is_file()
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    export_model([controlnet], "mine")
    assert "mine" in variants()


@pytest.mark.parametrize("features", [0, 10**6])
def test_a_controlnet_is_tuned_from_that_of_a_model(tmp_path, prepared, features):
    unet = trained(tmp_path, "diffusion", prepared)
    first = trained(tmp_path, "controlnet", prepared, {"unet": unet}, contrastive={"feature_voxels": features})
    trained(tmp_path, "controlnet", prepared, {"unet": unet, "controlnet": first}, contrastive={"target": "code"})


def test_both_networks_train_on_pairs(tmp_path, prepared):
    settings = {"train_unet": True, "contrastive": {"target": "pair"}, "pairs": True, "initial_output": 0.02}
    run = trained(tmp_path, "controlnet", prepared, **settings)
    assert {path.stem for path in (run / "weights").iterdir()} == {"unet", "controlnet"}


def test_latents_of_another_autoencoder_are_refused(tmp_path, prepared):
    autoencoder = trained(tmp_path, "autoencoder", prepared, **QUICK)
    others = write_prepared(tmp_path / "others", [an_item()], autoencoder={"name": "another", "sha256": "0" * 64})
    with pytest.raises(InputError, match="made with another autoencoder"):
        trained(tmp_path, "diffusion", others, {"autoencoder": autoencoder})
