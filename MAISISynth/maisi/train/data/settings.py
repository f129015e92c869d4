"""What is read of a prepared data set, and how. No torch."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from maisi.train.section import AbsolutePath, Section


class DataConfig(Section):
    """Which data are used, and how batches are made of them."""

    prepared: AbsolutePath = Field(description="Folder that maisi prepare wrote")
    pairs: bool = Field(False, description="Batches of counterfactual pairs")
    batch: PositiveInt = Field(1, description="Images of a batch on each process")
