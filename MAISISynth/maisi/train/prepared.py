"""A prepared data set: what ``maisi prepare`` writes and every training reads.

DIR/prepared.json          :class:`Settings`: size rule, window, new classes, autoencoder, scale factor
DIR/items.jsonl            one :class:`Item` a line
DIR/report.json            what was found in the data set, and what is wrong with which file
DIR/images/ID.npy          CT: int16 HU, MR: float16 0...1; ``[I, J, K]``, memory-mapped when read
DIR/labels/ID.npz          uint8 MAISI ids ``[I, J, K]`` under "labels", compressed
DIR/latents/ID.safetensors "mean" and "sigma", float16 ``[4, I/4, J/4, K/4]``
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.new_classes import NewClass, from_json

PREPARED = "prepared.json"


@dataclass(frozen=True)
class Settings:
    """How a data set was prepared, the same for all of its items.

    Attributes:
        multiple: sizes are multiples of this. spacing: fixed spacing in mm, or None: the size nearest to the scan's.
        window: HU beyond are clipped. copies: "none", "smallest" or "halvings" (see ``prepare.sizes``).
        min_slices: scans with fewer were dropped. classes: lesion classes of the data set's own.
        autoencoder: name and SHA-256 of the network that made the latents; empty: there are none.
        scale_factor: 1 / standard deviation of the latents, sampled, over all items (FACTS 1.8); None without latents.
    """

    multiple: int = 128
    spacing: tuple[float, float, float] | None = None
    window: tuple[float, float] = (-1000.0, 1000.0)
    copies: str = "halvings"
    min_slices: int = 64
    classes: tuple[NewClass, ...] = ()
    autoencoder: dict[str, str] = field(default_factory=dict)
    scale_factor: float | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Inverse of ``dataclasses.asdict``. Raises TypeError or KeyError for anything else."""
        spacing = values["spacing"] and tuple(values["spacing"])
        plain = {"spacing": spacing, "window": tuple(values["window"]), "classes": from_json(values["classes"])}
        return cls(**{**values, **plain})


def read_settings(folder: Path) -> Settings:
    """Raises InputError: no prepared data set there, or made by another version."""
    path = folder / PREPARED
    if not path.is_file():
        raise InputError(f"{folder} is not a prepared data set; run: maisi prepare DATASET -o {folder}")
    try:
        return Settings.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); prepare the data set into a new folder.") from error


def read_classes(folder: Path) -> tuple[NewClass, ...]:
    """The lesion classes that the data set in ``folder`` adds to the vocabulary. Raises like :func:`read_settings`."""
    return read_settings(folder).classes


@dataclass(frozen=True)
class Item:
    """One image to train with.

    Attributes:
        id: file stem, unique in the folder. case: the scan it comes from; its copies share it and its fold.
        image, label, latent: paths relative to the folder, or None where there is none.
        shape: voxels ``(I, J, K)``. spacing: mm. modality: code of FACTS 2.3, 1 = CT.
        fold: cross-validation fold. dataset: name of its source, which has the sampling ``weight``.
        region: (top, bottom) body region indices for ddpm, or None (FACTS 2.3).
        downsampled: a smaller copy of another item. ids: MAISI ids in its label map.
        pair: id of the same image without its lesions (a counterfactual), or None.
    """

    id: str
    case: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    modality: int = 1
    image: str | None = None
    label: str | None = None
    latent: str | None = None
    fold: int = 0
    dataset: str = ""
    weight: float = 1.0
    region: tuple[int, int] | None = None
    downsampled: bool = False
    ids: tuple[int, ...] = ()
    pair: str | None = None


def read_items(folder: Path) -> list[Item]:
    """Items of a prepared folder, in the order of their file.

    Raises:
        InputError: no prepared data set there, or made by another version.
    """
    path = folder / "items.jsonl"
    if not path.is_file():
        raise InputError(f"{folder} is not a prepared data set; run: maisi prepare DATASET -o {folder}")
    try:
        return [_item(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); run maisi prepare again, it goes on.") from error


def write_items(folder: Path, items: Iterable[Item]) -> None:
    """Replace the list of items at once. Raises InputError when it cannot be written."""
    lines = [json.dumps(asdict(item), ensure_ascii=False) for item in items]
    temporary = folder / "items.jsonl.part"
    try:
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        temporary.replace(folder / "items.jsonl")
    except OSError as error:
        raise InputError(
            f"{folder / 'items.jsonl'} could not be written ({error.strerror}); make room there."
        ) from error


def _item(values: dict[str, object]) -> Item:
    lists = {f.name for f in fields(Item) if "tuple" in str(f.type)}
    return Item(**{k: tuple(v) if k in lists and v is not None else v for k, v in values.items()})
