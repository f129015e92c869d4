"""The table of models: each is a JSON card beside its weights; the code knows no model by name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.geometry import GridRules
from maisi.models.intensity import IntensityScale

# MAISISynth/Resources/Models in the source tree; Resources/Models of the flat folder of an installed extension.
SHIPPED_MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"


@dataclass(frozen=True)
class Variant:
    """One model: what it is, which networks it has, which grids it accepts, where its weights are.

    Attributes:
        name: key on the command line and in scenes. title, description, license: for people.
        networks: keyword arguments of each network class (see ``models.networks.build_networks``).
        intensity: HU <-> 0...1. grid: which model grids are allowed.
        default_steps: network evaluations. modality: class label (FACTS 2.3).
        scale_factor: latents are multiplied by it before diffusion (FACTS 1.8).
        time_scale: of the timestep transform (FACTS 1.7): "volume" = from the latent size, or a number.
        weights: path of the safetensors file. sha256: of that file.
        cost: floating point operations and bytes per image voxel, for :mod:`maisi.planning`.
    """

    name: str
    title: str
    description: str
    license: str
    networks: dict[str, dict[str, Any]]
    intensity: IntensityScale
    grid: GridRules
    default_steps: int
    modality: int
    scale_factor: float
    time_scale: float | str
    weights: Path
    sha256: str
    cost: dict[str, float] = field(default_factory=dict)

    def installed(self) -> bool:
        """Whether the weight file is there (its content is checked when it is opened)."""
        return self.weights.is_file()


def read_variant(card: Path) -> Variant:
    """The variant that a model card describes.

    Raises:
        InputError: the card is not valid.
    """
    try:
        data = json.loads(card.read_text(encoding="utf-8"))
        model = data["model"]
        return Variant(
            name=data["name"],
            title=data["title"],
            description=data["description"],
            license=data["license"],
            networks=model["networks"],
            intensity=IntensityScale(tuple(model["intensity"]["hu"]), tuple(model["intensity"]["unit"])),
            grid=GridRules(**{k: tuple(v) if isinstance(v, list) else v for k, v in model["grid"].items()}),
            default_steps=model["default_steps"],
            modality=model["modality"],
            scale_factor=model["scale_factor"],
            time_scale=model["time_scale"],
            weights=card.parent / data["weights"]["file"],
            sha256=data["weights"]["sha256"],
            cost=model["cost"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The model card {card} cannot be used ({error!r}); restore it from the extension.") from error


def variants() -> dict[str, Variant]:
    """All models, by name: those that ship, and those in the folder that the variable ``MAISI_MODELS`` names."""
    folders = [SHIPPED_MODELS, *(Path(f) for f in [os.environ.get("MAISI_MODELS")] if f)]
    found = (read_variant(card) for folder in folders for card in sorted(folder.glob("*.json")))
    return {variant.name: variant for variant in found}


def get_variant(name: str) -> Variant:
    """The model called ``name``.

    Raises:
        InputError: there is none; the sentence lists those there are.
    """
    known = variants()
    if name not in known:
        raise InputError(f"There is no model called {name!r}; available: {', '.join(known) or 'none'}.")
    return known[name]
