"""The table of models: each is a JSON card in a models folder; the code knows no model by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.geometry import GridRules
from maisi.models.folder import models_folder
from maisi.models.intensity import IntensityScale
from maisi.new_classes import NewClass, from_json, learn
from maisi.scanner_noise import ScannerNoise

# MAISISynth/Resources/Models in the source tree; Resources/Models of the flat folder of an installed extension.
SHIPPED_MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"


@dataclass(frozen=True)
class WeightFile:
    """Where the weights of one network (or of all) come from.

    Attributes:
        role: "autoencoder", "unet", "controlnet", or "all" for one safetensors file with those names as prefixes.
        file: name in the folder of the card, or in the user's models folder for those that are downloaded.
        sha256: of that file as published; None where no checksum was published.
        repository, path: on the Hugging Face hub; "" for files that stand beside their card.
        license: key of the license table (see ``models.licenses``), or the license's name.
    """

    role: str
    file: str
    sha256: str | None = None
    repository: str = ""
    path: str = ""
    license: str = ""


@dataclass(frozen=True)
class Schedule:
    """The noise schedule and its solver (FACTS 1.7).

    Attributes:
        kind: "rectified_flow" or "ddpm". steps, solver: by default.
        time_scale: of the timestep transform of rectified flow: "volume" = from the latent size, or a number.
        grid: of the times, "reference" or "clean" (see ``sampling.schedule.flow_steps``).
    """

    kind: str = "rectified_flow"
    steps: int = 30
    solver: str = "euler"
    time_scale: float | str = "volume"
    grid: str = "reference"


@dataclass(frozen=True)
class FieldOfView:
    """A field of view the model was trained on: what it shows, and its extent ``[3]`` in mm (FACTS 7.1-7.3)."""

    name: str
    mm: tuple[float, float, float]


@dataclass(frozen=True)
class Variant:
    """One model: what it is, which networks it has, which grids it accepts, where its weights are.

    Attributes:
        name: key on the command line and in scenes. title, description, license: for people.
        image: "ct" or "mr": what the voxels mean. intensity: voxel values <-> 0...1.
        networks: keyword arguments of each network class (see ``models.networks.build_networks``); a model without
            "controlnet" makes images without a mask only.
        schedule: noise schedule and default solver. grid: which model grids are allowed.
        modalities: names and codes of the class labels it was trained with (FACTS 2.3); empty if it takes none.
        modality: the default one's name. guidance: default scale of classifier-free guidance, 0 = none (FACTS 2.9).
        scale_factor: latents are multiplied by it before diffusion (FACTS 1.8); None = the checkpoint tells.
        weights: files. folder: of the card. fields_of_view: recommended ones.
        classes: lesion classes it knows beside those of the vocabulary.
        noise: what is added to its images (CT), or None.
    """

    name: str
    title: str
    description: str
    license: str
    image: str
    intensity: IntensityScale
    networks: dict[str, dict[str, Any]]
    schedule: Schedule
    grid: GridRules
    modalities: dict[str, int]
    modality: str | None
    guidance: float
    scale_factor: float | None
    weights: tuple[WeightFile, ...]
    folder: Path
    fields_of_view: tuple[FieldOfView, ...] = ()
    classes: tuple[NewClass, ...] = ()
    noise: ScannerNoise | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of the weight file; of several files: "role=checksum" of each, "unpublished" where none is known."""
        if len(self.weights) == 1:
            return self.weights[0].sha256 or "unpublished"
        return " ".join(f"{file.role}={file.sha256 or 'unpublished'}" for file in self.weights)

    def modality_code(self, name: str | None) -> int | None:
        """Class label of the modality ``name`` (None: the default); None for a model that takes none.

        Raises:
            InputError: the model does not know it.
        """
        if not self.modalities and name is None:
            return None
        if (name or self.modality) not in self.modalities:
            known = ", ".join(self.modalities) or "none"
            raise InputError(f"The model {self.name} makes no {name!r} images; it knows: {known}.")
        return self.modalities[name or self.modality]


def read_variant(card: Path) -> Variant:
    """The variant that a model card describes. Its own lesion classes become known to :mod:`maisi.labels`.

    Raises:
        InputError: the card is not valid.
    """
    try:
        return make_variant(json.loads(card.read_text(encoding="utf-8")), card.parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The model card {card} cannot be used ({error!r}); restore it from the extension.") from error


def make_variant(card: dict[str, Any], folder: Path) -> Variant:
    """The variant of a card's content; its classes are known from now on. Raises KeyError, TypeError or ValueError."""
    model = card["model"]
    classes = from_json(model.get("classes", []))
    learn(classes)
    return Variant(
        name=card["name"],
        title=card["title"],
        description=card["description"],
        license=card["license"],
        image=model["image"],
        intensity=IntensityScale(**_tuples(model["intensity"])),
        networks=model["networks"],
        schedule=Schedule(**model["schedule"]),
        grid=GridRules(**_tuples(model["grid"])),
        modalities=model["modalities"],
        modality=model["modality"],
        guidance=model["guidance"],
        scale_factor=model["scale_factor"],
        weights=tuple(WeightFile(**file) for file in card["weights"]),
        folder=folder,
        fields_of_view=tuple(FieldOfView(**_tuples(fov)) for fov in model.get("fields_of_view", [])),
        classes=classes,
        noise=ScannerNoise(**model["noise"]) if model.get("noise") else None,
    )


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def variants() -> dict[str, Variant]:
    """All models, by name: those that ship, and those with a card in the user's models folder."""
    return {variant.name: variant for variant in map(read_variant, _cards())}


def _cards() -> Iterator[Path]:
    return (card for folder in (SHIPPED_MODELS, models_folder()) for card in sorted(folder.glob("*.json")))


def get_variant(name: str) -> Variant:
    """The model called ``name``.

    Raises:
        InputError: there is none; the sentence lists those there are.
    """
    known = variants()
    if name not in known:
        raise InputError(f"There is no model called {name!r}; available: {', '.join(known) or 'none'}.")
    return known[name]


def read_card(name: str) -> dict[str, Any]:
    """The content of the card of the model called ``name``. Raises InputError: there is none."""
    get_variant(name)
    found = (json.loads(card.read_text(encoding="utf-8")) for card in _cards())
    return {card["name"]: card for card in found}[name]
