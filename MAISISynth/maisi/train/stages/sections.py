"""The parts of a configuration that belong to the stages, by the name of the stage. No torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from maisi.train.section import Section


class NetworkConfig(Section):
    """Which networks are trained, and from where they start."""

    model: str = Field("rflow-ct", description="Model whose networks and intensities are used (see: maisi models)")
    networks: dict[str, dict[str, Any]] = Field({}, description="Sizes that differ from the model's, by network")
    card: dict[str, Any] = Field({}, description='Other entries of the card\'s "model" that differ')
    weights: dict[str, str] = Field({}, description='Start by network: "model", a weight file or the folder of a run')


class StageSection(Section):
    """A stage without settings of its own."""


SECTIONS: dict[str, type[Section]] = dict.fromkeys(
    ("autoencoder", "diffusion", "controlnet", "mask_autoencoder", "mask_diffusion"), StageSection
)
