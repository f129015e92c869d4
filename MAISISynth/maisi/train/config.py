"""The configuration of a training: one class for each section, checked key by key, every key described.

A configuration is YAML or JSON. It may begin with ``preset: NAME`` and change single keys of that preset; the presets
in ``data/train`` hold the numbers of the paper (FACTS 5) and, where they differ, those of the released code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
    model_validator,
)

from maisi.errors import InputError
from maisi.train.data.settings import DataConfig
from maisi.train.presets import presets
from maisi.train.section import Section
from maisi.train.stages.sections import SECTIONS, NetworkConfig


class _Loader(yaml.SafeLoader):
    """Reads 1e-6 as the number that JSON and YAML 1.2 say it is; PyYAML wants 1.0e-6."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class RunConfig(Section):
    """How long, how exactly and how safely."""

    steps: PositiveInt | None = Field(None, description="Length in optimizer steps; give steps, epochs or hours")
    epochs: PositiveFloat | None = Field(None, description="Length in passes over the data")
    hours: PositiveFloat | None = Field(None, description="Length in hours of training, over all sittings")
    seed: NonNegativeInt = Field(0, description="The same seed and number of processes give the same training")
    precision: Literal["bfloat16", "float16", "float32"] = Field(
        "bfloat16", description="Of the networks' arithmetic; float16 scales the loss and needs CUDA"
    )
    accumulate: PositiveInt = Field(1, description="Batches whose gradients are added up before each step")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a third more time"
    )
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the weights' moving average, which is kept; 0: none")
    clip: NonNegativeFloat = Field(1.0, description="Longest gradient; longer ones are shortened to it; 0: never")
    skips: PositiveInt = Field(20, description="Steps in a row without a finite gradient after which a run gives up")
    log_every: PositiveInt = Field(10, description="Steps between rows of figures")
    validate_every: NonNegativeInt = Field(500, description="Steps between validations on held-out cases; 0: never")
    preview_every: NonNegativeInt = Field(0, description="Steps between previews; 0: never")
    checkpoint_minutes: PositiveFloat = Field(15, description="Minutes between checkpoints")
    checkpoint_steps: NonNegativeInt = Field(0, description="Steps between checkpoints, besides the minutes; 0: none")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA where there is one")

    parallel: Literal["ddp", "zero"] = Field(
        "ddp",
        description="What each process holds: ddp: everything; zero: of the optimizer's state only its share, "
        "which saves up to 8 bytes a weight",
    )

    @model_validator(mode="after")
    def _one_length(self) -> RunConfig:
        if [self.steps, self.epochs, self.hours].count(None) != 2:
            raise ValueError("give exactly one of steps, epochs and hours")
        return self


class OptimizerConfig(Section):
    """How weights follow their gradients."""

    name: Literal["adam", "adamw"] = Field("adamw", description="Method")
    learning_rate: PositiveFloat = Field(1e-4, description="Highest learning rate")
    weight_decay: NonNegativeFloat = Field(0.01, description="Decay of weights; adam adds it to the gradient")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Decay of the gradient's mean and square")
    epsilon: PositiveFloat = Field(1e-8, description="Added to the divisor; 1e-6 is safer in half precision")
    fused: bool = Field(True, description="All weights in one kernel")
    schedule: Literal["polynomial", "cosine", "constant"] = Field(
        "polynomial", description="How the learning rate falls from its highest value to 0 at the end"
    )
    power: PositiveFloat = Field(2.0, description="Exponent of the polynomial schedule")
    warmup: Literal["linear", "stairs"] = Field(
        "linear", description="Beginning: a line from 0, or 1 % for the first half and 10 % for the second"
    )
    warmup_steps: NonNegativeInt = Field(0, description="Length of the beginning in steps")
    warmup_epochs: NonNegativeFloat = Field(0, description="The same in passes over the data")


class TrainConfig(Section):
    """A training. The class of each stage adds ``stage`` and, under the stage's name, the section of that stage."""

    stage: str = Field(description="What is trained")
    run: RunConfig = Field(description=RunConfig.__doc__)
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description=OptimizerConfig.__doc__)
    data: DataConfig = Field(description=DataConfig.__doc__)
    network: NetworkConfig = Field(NetworkConfig(), description=NetworkConfig.__doc__)

    @property
    def section(self) -> Any:
        """The section of the stage."""
        return getattr(self, self.stage)


@cache
def _config_class(stage: str) -> type[TrainConfig]:
    if stage not in SECTIONS:
        raise InputError(f"There is no stage {stage!r} to train; choose one of {', '.join(SECTIONS)}.")
    section = SECTIONS[stage]
    fields: dict[str, Any] = {
        "stage": (Literal[stage], Field(stage, description="What is trained")),
        stage: (section, Field(default_factory=section, description=section.__doc__)),
    }
    return create_model(f"TrainConfig_{stage}", __base__=TrainConfig, **fields)


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration in a YAML or JSON file, or of the preset called ``source``.

    Args:
        overrides: changes such as "run.steps=100"; values are YAML.

    Raises:
        InputError: no such file or preset, or mistakes in it: a sentence each.
    """
    return override(_read(source), overrides, str(source))


def override(values: dict[str, Any], changes: Sequence[str], source: str) -> TrainConfig:
    """``values`` with ``changes`` such as "run.steps=100", checked as by :func:`make_config`."""
    for change in changes:
        _change(values, change)
    return make_config(values, source)


def make_config(values: dict[str, Any], source: str = "The configuration") -> TrainConfig:
    """``values`` checked. Raises InputError with a sentence for each mistake; ``source`` says where they are from."""
    if "stage" not in values:
        raise InputError(f"{source} does not say what to train; add a stage: one of {', '.join(SECTIONS)}.")
    try:
        return _config_class(values["stage"]).model_validate(values)
    except ValidationError as error:
        raise InputError(" ".join(_sentence(mistake, source) for mistake in error.errors())) from error


def json_schema(stage: str) -> dict[str, Any]:
    """JSON schema of the configuration of ``stage``, without references, for forms. Raises InputError: no such one."""
    schema = _config_class(stage).model_json_schema()
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        target = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {key: inline(value) for key, value in {**target, **node}.items() if key != "$ref"}

    return inline(schema)


def _read(source: str | Path) -> dict[str, Any]:
    path = presets().get(str(source), Path(source))
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        known = ", ".join(presets())
        raise InputError(f"There is no configuration file {source} and no such preset; presets: {known}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML or JSON: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no configuration; it must have keys such as stage, run and data.")
    base = values.pop("preset", None)
    if base is not None and base not in presets():
        raise InputError(f"{path} names the preset {base!r}; there are: {', '.join(presets())}.")
    return values if base is None else _merged(_read(base), values)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {
        key for key in base.keys() & changes.keys() if isinstance(base[key], dict) and isinstance(changes[key], dict)
    }
    return {**base, **changes, **{key: _merged(base[key], changes[key]) for key in both}}


def _change(values: dict[str, Any], change: str) -> None:
    keys, equals, text = change.partition("=")
    *parents, last = keys.split(".")
    if not equals or not all((*parents, last)):
        raise InputError(f"{change!r} sets nothing; write it as in run.steps=100.")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise InputError(f"{change!r} cannot be set, because {key} is a value, not a section.")
    try:
        values[last] = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"The value of {change!r} is not valid YAML.") from error


def _sentence(mistake: dict[str, Any], source: str) -> str:
    key = ".".join(map(str, mistake["loc"])) or "the configuration"
    if mistake["type"] == "extra_forbidden":
        return f"{source}: there is no key {key}; remove it or correct its name."
    if mistake["type"] == "missing":
        return f"{source}: {key} is missing; add it."
    return f"{source}: {key} cannot be {mistake['input']!r} ({mistake['msg'].removeprefix('Value error, ')})."
