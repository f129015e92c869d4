"""What is read of a prepared data set, and how batches are made of it. pydantic only, so that it loads at once."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from maisi.train.section import AbsolutePath, Section

Size = tuple[PositiveInt, PositiveInt, PositiveInt]


class DataConfig(Section):
    """Which data are used, and how batches are made of them."""

    prepared: AbsolutePath = Field(description="Folder that maisi prepare wrote")
    fold: NonNegativeInt | None = Field(0, description="Cross-validation fold that is held out; null: none")
    validation_items: PositiveInt | None = Field(None, description="Held-out items to validate with; null: all of them")
    datasets: tuple[str, ...] | None = Field(None, description="Only items of these sources; null: all")
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Sampling weights by source, in place of those of the data list: 2 is drawn twice as often as 1"
    )
    sizes: tuple[Size, ...] | None = Field(None, description="Only items of these sizes in voxels; null: all sizes")
    copies: bool = Field(True, description="Use down-sampled copies, too")
    batch: PositiveInt = Field(1, description="Samples of a batch on each process, where no other key decides")
    batch_voxels: PositiveInt | None = Field(
        None, description="Most voxels of a batch: small images come in larger batches; null: see batch"
    )
    batch_table: dict[str, PositiveInt] = Field(
        {}, description='Samples of a batch by size in voxels, such as {"128x128x128": 96}; other sizes: see the others'
    )
    pairs: bool = Field(False, description="Pairs of the same image without and with lesions (networks with labels)")
    crop: Size | None = Field(
        None, description="Random parts of this many latent voxels, of labels 4 times as many; null: whole images"
    )
    lesion_crop: float = Field(
        0.7, ge=0, le=1, description="Part of the crops that have a lesion in them if there is one"
    )
    sample_latents: bool = Field(True, description="Draw latents from mean and deviation each time; false: their mean")
    patch: Size = Field((64, 64, 64), description="Voxels of the autoencoder's patches")
    spacing_mode: Literal["original", "fixed", "rand_zoom"] = Field(
        "original", description="Patches as they are, resampled to one spacing, or zoomed and turned at random"
    )
    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (1.0, 1.0, 1.0), description="The one spacing in mm, for spacing_mode fixed"
    )
    augment: bool = Field(True, description="Augment patches: flips, turns, intensities; for MR bias field and others")
    augment_tumors: bool = Field(
        False, description="Change tumors of label maps at random; only where no image belongs to them (mask generator)"
    )
    workers: NonNegativeInt = Field(0, description="Processes that read ahead; 0: none")

    @field_validator("batch_table")
    @classmethod
    def _sizes_are_readable(cls, table: dict[str, int]) -> dict[str, int]:
        wrong = [key for key in table if not re.fullmatch(r"\d+x\d+x\d+", key)]
        if wrong:
            raise ValueError(f"sizes read like 128x128x128, not {wrong[0]!r}")
        return table

    def batch_size(self, shape: tuple[int, ...]) -> int:
        """Samples of a batch of images of ``shape`` voxels."""
        listed = self.batch_table.get("x".join(map(str, shape)))
        if listed is not None or self.batch_voxels is None:
            return listed or self.batch
        return max(self.batch_voxels // (shape[0] * shape[1] * shape[2]), 1)
