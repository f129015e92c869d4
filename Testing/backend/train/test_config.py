"""Configurations of trainings: presets, files, changes, mistakes."""

from __future__ import annotations

import json

import pytest

from maisi.errors import InputError
from maisi.train.config import json_schema, load_config, make_config
from maisi.train.presets import presets
from maisi.train.stages.sections import SECTIONS

VALUES = {"stage": "diffusion", "run": {"steps": 5}, "data": {"prepared": "here"}}


@pytest.mark.parametrize("name", presets())
def test_a_preset_needs_only_the_data(name, tmp_path):
    config = load_config(name, [f"data.prepared={tmp_path}"])
    assert config.data.prepared == tmp_path
    assert config.section == getattr(config, config.stage)
    assert make_config(json.loads(config.model_dump_json())) == config


@pytest.mark.parametrize("stage", SECTIONS)
def test_a_schema_describes_every_key_without_references(stage):
    schema = json_schema(stage)
    assert "$ref" not in json.dumps(schema)
    assert schema["properties"]["stage"]["const"] == stage
    for section in ("run", "optimizer", "data", "network", stage):
        entries = schema["properties"][section]["properties"]
        assert [key for key, entry in entries.items() if not entry.get("description")] == []


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    """Where any value may stand, nothing else would tell that 1e-6 is none for PyYAML."""
    values = {**VALUES, "network": {"networks": {"autoencoder": {"norm_eps": 1e-06}}}}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(values))
    config = load_config(file, ["network.networks.unet.scale=2E+3", "network.networks.unet.name=e5"])
    assert config.network.networks == {"autoencoder": {"norm_eps": 1e-06}, "unet": {"scale": 2000.0, "name": "e5"}}


def test_a_file_changes_single_keys_of_a_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: diffusion-stage3\nrun: {precision: float32}\ndata: {prepared: /data, fold: 2}\n")
    config, preset = load_config(file), load_config("diffusion-stage3", ["data.prepared=/data"])
    assert (config.run.precision, config.data.fold) == ("float32", 2)
    assert config.optimizer == preset.optimizer
    assert config.run.epochs == preset.run.epochs


def test_one_number_of_voxels_gives_the_batches_of_the_paper():
    data = load_config("diffusion-stage2", ["data.prepared=/data"]).data
    sizes = (128, 128, 128), (256, 256, 128), (512, 512, 768)
    assert [data.batch_size(size) for size in sizes] == [96, 24, 1]


def test_json_is_read_and_values_are_yaml(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(VALUES))
    config = load_config(file, ["run.steps=null", "run.epochs=2", "optimizer.learning_rate=1e-3", "run.ema=0"])
    assert (config.run.epochs, config.optimizer.learning_rate, config.run.ema) == (2, 1e-3, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("run.stepz=3", "there is no key run.stepz; remove it or correct its name."),
        ("run.ema=1.5", "run.ema cannot be 1.5"),
        ("run.epochs=3", "give exactly one of steps, epochs and hours"),
        ("run.steps=null", "give exactly one of steps, epochs and hours"),
        ("run.precision=half", "run.precision cannot be 'half'"),
        ("stage=gan", "There is no stage 'gan' to train; choose one of autoencoder"),
        ("run", "'run' sets nothing; write it as in run.steps=100."),
        ("run.=3", "sets nothing"),
        ("stage.x=3", "stage is a value, not a section"),
        ("run.seed=[", "is not valid YAML"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(tmp_path, change, sentence):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(VALUES))
    with pytest.raises(InputError) as error:
        load_config(file, [change])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_each_mistake_gets_its_sentence():
    with pytest.raises(InputError) as error:
        make_config({**VALUES, "run": {"steps": -1, "seeds": 3}, "data": {}}, "mine.yaml")
    assert str(error.value).count("mine.yaml: ") == 3
    assert "mine.yaml: data.prepared is missing; add it." in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "is not valid YAML or JSON"),
        ("just words", "holds no configuration"),
        ("preset: none\nstage: diffusion", "names the preset 'none'; there are:"),
        ("run: {steps: 3}", "does not say what to train"),
        ("\x00", "is not valid YAML or JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path, text, sentence):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_config(tmp_path / "mine.yaml")


def test_a_file_that_is_not_there_is_told_with_the_presets():
    with pytest.raises(
        InputError, match=r"no configuration file nowhere.yaml and no such preset; presets: .*diffusion"
    ):
        load_config("nowhere.yaml")


def test_paths_hold_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make_config(VALUES).data.prepared == tmp_path / "here"
