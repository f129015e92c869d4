"""The form made from the configuration's schema: every preset of every stage can be shown, read and changed."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
pytest.importorskip("pydantic", reason="the extra 'train' is not installed: run `make setup`")
from maisi.train.config import json_schema, load_config
from maisi.train.presets import presets, titles
from maisi.train.stages.sections import SECTIONS
from MAISITrainLib.SlurmOptions import SlurmOptions
from MAISITrainLib.TrainingForm import FormError, TrainingForm
from MAISITrainLib.TrainSettings import RUNS_KEPT, TrainSettings

PREPARED = "data.prepared=."


def formOf(preset: str) -> TrainingForm:
    values = load_config(preset, [PREPARED]).model_dump(mode="json")
    return TrainingForm(json_schema(values["stage"]), values)


@pytest.fixture(scope="module")
def a_form() -> TrainingForm:
    return formOf("controlnet")


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_shown_and_read_back_as_it_is(preset):
    form = formOf(preset)
    assert form.mistakes() == {}
    assert form.changes() == {}
    assert form.sections == (form.stage, "run", "optimizer", "data", "network")
    assert all(field.description for field in form.fields.values())
    assert titles()[preset]


def test_presets_exist_for_every_stage():
    assert {formOf(preset).stage for preset in presets()} == set(SECTIONS)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("run.seed", "7", 7),
        ("run.steps", " 100 ", 100),
        ("run.epochs", "", None),
        ("run.ema", "0.5", 0.5),
        ("run.gradient_checkpointing", "true", True),
        ("run.precision", "float32", "float32"),
        ("network.model", "mine", "mine"),
        ("network.weights", '{"unet": "/runs/one"}', {"unet": "/runs/one"}),
        ("data.sizes", "[[128, 128, 64]]", [[128, 128, 64]]),
        ("controlnet.scale_factor", "1.5", 1.5),
        ("controlnet.contrastive.weight", "0", 0),
    ],
)
def test_what_is_typed_becomes_a_change_that_the_configuration_takes(key, text, value):
    form = formOf("controlnet")
    form.setText(key, text)
    assert form.changes() == {key: value}
    form.setText(key, form.fields[key].text(form._preset[key]))
    assert form.changes() == {}


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("run.seed", "-1", "run.seed must be at least 0, not -1."),
        ("run.seed", "many", "run.seed must be a whole number, not 'many'."),
        ("run.seed", "", "run.seed needs a value."),
        ("run.ema", "1", "run.ema must be less than 1, not 1."),
        ("run.steps", "0", "run.steps must be greater than 0, not 0."),
        ("run.clip", "much", "run.clip must be a number, not 'much'."),
        ("optimizer.fused", "yes", "optimizer.fused must be true or false, not 'yes'."),
        ("data.sizes", "128", None),
        ("data.weights", "{", "data.weights must be written as in [1, 2, 3] or {\"name\": 1}, not '{'."),
        ("controlnet.scale_factor", "0", "controlnet.scale_factor must be greater than 0, not 0."),
        ("controlnet.scale_factor", "auto", None),
    ],
)
def test_mistakes_are_told_by_key(key, text, sentence):
    """What the form cannot know (None) is left to ``maisi train``."""
    form = formOf("controlnet")
    form.setText(key, text)
    assert form.mistakes() == ({key: sentence} if sentence else {})
    if sentence:
        with pytest.raises(FormError):
            form.changes()


def test_help_names_limits_and_default(a_form):
    assert a_form.fields["run.ema"].help == (
        "Decay of the weights' moving average, which is kept; 0: none; at least 0, less than 1; default: 0.999"
    )
    assert a_form.fields["controlnet.scale_factor"].help.endswith("greater than 0, or auto; default: auto")
    assert a_form.fields["run.steps"].help.endswith("greater than 0; default: none")
    assert a_form.fields["run.precision"].choices == ("bfloat16", "float16", "float32")


# ---- SLURM and settings


def test_options_of_a_job():
    assert SlurmOptions().arguments() == ["--nnodes=1"]
    options = SlurmOptions("gpu", "lab", 2, 4, "2-00:00:00", '--mem=200G "--comment=two words"')
    assert options.isValid() == (True, "")
    assert options.arguments() == [
        "--nnodes=2",
        "--sbatch=--partition=gpu",
        "--sbatch=--account=lab",
        "--sbatch=--time=2-00:00:00",
        "--sbatch=--gpus-per-node=4",
        "--sbatch=--mem=200G",
        "--sbatch=--comment=two words",
    ]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"time": "a day"}, "'a day' is no time of SLURM"),
        ({"more": "mem=3"}, "'mem=3' is no option of SLURM"),
        ({"more": '--comment="'}, "quotation mark"),
    ],
)
def test_options_that_cannot_be_used_are_told(given, sentence):
    valid, told = SlurmOptions(**given).isValid()
    assert not valid
    assert sentence in told


def test_settings_remember_trainings_and_jobs(tmp_path):
    settings = TrainSettings()
    assert (settings.runs, settings.slurm) == ((), SlurmOptions())
    for number in range(RUNS_KEPT + 2):
        settings.addRun(tmp_path / str(number))
    settings.addRun(f"{tmp_path}/5/")
    assert settings.runs[:2] == (str(tmp_path / "5"), str(tmp_path / "21"))
    assert len(settings.runs) == RUNS_KEPT == len(set(settings.runs))
    settings.forgetRun(str(tmp_path / "5"))
    assert settings.runs[0] == str(tmp_path / "21")
    settings.slurm = SlurmOptions("gpu", gpus=2)
    assert settings.slurm == SlurmOptions("gpu", gpus=2)


def test_settings_that_another_version_wrote_do_no_harm():
    settings = TrainSettings()
    settings.setText("Runs", '{"a": 1}')
    settings.setText("Slurm", '{"partition": "gpu", "color": "red"}')
    assert (settings.runs, settings.slurm) == ((), SlurmOptions("gpu"))
    settings.setText("Runs", "[")
    settings.setText("Slurm", "[1]")
    assert (settings.runs, settings.slurm) == ((), SlurmOptions())
