"""A prepared data set: what ``maisi prepare`` writes and every training reads. Standard library only.

DIR/prepared.json          settings: window, size rule, checksum of the autoencoder, names of new classes
DIR/items.jsonl            one :class:`Item` a line
DIR/report.json            what was found wrong, and with which file
DIR/images/ID.npy          CT: int16 HU, MR: float16 0...1; ``[I, J, K]``, memory-mapped when read
DIR/labels/ID.npz          uint8 MAISI ids ``[I, J, K]`` under "labels", compressed
DIR/latents/ID.safetensors "mean" and "sigma", float16 ``[4, I/4, J/4, K/4]``
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from maisi.errors import InputError


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
        pair: id of the item that differs from it by its lesions alone (a counterfactual), or None.
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
    """Replace the list of items at once."""
    lines = [json.dumps(asdict(item), ensure_ascii=False) for item in items]
    temporary = folder / "items.jsonl.part"
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    temporary.replace(folder / "items.jsonl")


def _item(values: dict[str, object]) -> Item:
    lists = {f.name for f in fields(Item) if "tuple" in str(f.type)}
    return Item(**{k: tuple(v) if k in lists and v is not None else v for k, v in values.items()})
