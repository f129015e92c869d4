"""From trained runs to a model that the engine, the command line and the panel offer: a card and its weights."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from maisi.errors import InputError
from maisi.models.checkpoint import metadata_of
from maisi.models.folder import models_folder, replacing
from maisi.models.variants import SHIPPED_MODELS, make_variant
from maisi.train.config import TrainConfig, make_config
from maisi.train.run_folder import RunFolder
from maisi.train.stages.start import CLASSES_KEY, MODEL, NETWORK_CLASSES, Start

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class _Trained:
    """A run with its configuration and its weight files by role."""

    run: RunFolder
    config: TrainConfig
    files: Mapping[str, Path]

    @classmethod
    def read(cls, folder: Path) -> _Trained:
        run = RunFolder(folder)
        found = {path.stem: path for path in sorted(run.weights.glob("*.safetensors"))}
        files = {role: path for role, path in found.items() if role in NETWORK_CLASSES}
        if not (run.exists and files):
            raise InputError(f"{folder} is no run with weights; train it until its first validation or its end.")
        return cls(run, make_config(run.facts()["config"], str(run.run_file)), files)

    @property
    def facts(self) -> dict[str, Any]:
        status = self.run.last_status()
        steps = {"steps": status.step, "best_step": status.best_step, "best": status.best} if status else {}
        return {"run": self.run.name, **steps, "config": self.config.model_dump(mode="json")}


def export_model(
    runs: Sequence[Path], name: str, title: str = "", license_name: str = "", replace: bool = False
) -> Path:
    """Make a model of the networks that ``runs`` trained and put it into the user's models folder, in half precision.

    Networks that none of them trained are those that the last run's configuration names, else the weights of the model
    that it is based on. Lesion classes of the training data go into the card.

    Args:
        runs: folders; where two trained the same network the later one counts. name: of the model. title: for people.
        license_name: of the weights; by default that of the model they are based on, which holds for what is made
            of its weights. replace: overwrite an own model of that name.

    Returns:
        Path of the card.

    Raises:
        InputError: a run has no weights, the name is taken or cannot be one, or nothing was trained that makes images.
        WeightsError: weights that are missing or do not fit; the models folder cannot be written.
    """
    folder = models_folder()
    _check_name(name, folder, replace)
    trained = [_Trained.read(run) for run in runs]
    files = {role: path for one in trained for role, path in one.files.items()}
    last = trained[-1].config.network
    start = Start.of(last.model_copy(update={"weights": {**last.weights, **{k: str(v) for k, v in files.items()}}}))
    roles = start.variant.networks
    if not files.keys() & roles.keys():
        raise InputError(f"{', '.join(files)} make no image by themselves; export them together with a UNet's run.")
    start = Start(start.card, start.variant, start.sizes, {**dict.fromkeys(roles, MODEL), **start.weights})
    states = {role: start.state(role) for role in roles}
    model = {
        **start.card["model"],
        "scale_factor": states["unet"].scale_factor or start.variant.scale_factor,
        "classes": _classes(files),
        "parameters": sum(tensor.numel() for state in states.values() for tensor in state.state.values()),
    }
    card = {
        "name": name,
        "title": title or name,
        "description": f"Trained here from {last.model}: {', '.join(one.config.stage for one in trained)}.",
        "license": license_name or start.card["license"],
        "model": model,
        "training": {"runs": [one.facts for one in trained]},
        "metrics": {},
    }
    return write_model(folder, card, {role: state.state for role, state in states.items()})


def write_model(folder: Path, card: dict[str, Any], states: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Write ``NAME.safetensors`` (float16, all networks) and then the card ``NAME.json``; returns the card's path.

    Args:
        card: without "weights". states: tensors of each network by role.

    Raises:
        WeightsError: the folder cannot be written.
    """
    tensors = {f"{role}.{key}": v.half().contiguous() for role, state in states.items() for key, v in state.items()}
    content = safetensors_bytes(tensors, metadata={"format": "pt", "name": card["name"]})
    weights = {"role": "all", "file": f"{card['name']}.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    path = folder / f"{card['name']}.json"
    full = {**card, "weights": [{**weights, "license": card["license"]}]}
    make_variant(full, folder)
    with replacing(folder / weights["file"]) as part:
        part.write_bytes(content)
    with replacing(path) as part:
        part.write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
    return path


def _check_name(name: str, folder: Path, replace: bool) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be a model's name; use letters, digits, dot, dash and underscore.")
    own = folder / f"{name}.json"
    if (SHIPPED_MODELS / own.name).exists() or (own.exists() and not replace):
        raise InputError(f"There is a model called {name} already; choose another name, or --replace one of your own.")


def _classes(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Lesion classes that the trained networks know beyond the vocabulary."""
    found = {c["id"]: c for path in files.values() for c in json.loads(metadata_of(path).get(CLASSES_KEY, "[]"))}
    return [found[id_] for id_ in sorted(found)]
