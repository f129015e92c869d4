"""Prepared data sets of a few voxels, written by hand: what trainings read, without preparing anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from maisi.train.prepared import PREPARED, Item, Settings, write_items

SHAPE = (16, 16, 16)


def write_prepared(folder: Path, items: Sequence[Item], **settings: object) -> Path:
    """A folder with all files of ``items``: images, label maps with a lesion, latents."""
    for name in ("images", "labels", "latents"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / PREPARED).write_text(json.dumps(asdict(Settings(multiple=16, **settings))))
    write_items(folder, [_written(folder, item) for item in items])
    return folder


def an_item(number: int = 0, shape: tuple[int, int, int] = SHAPE, **more: object) -> Item:
    """An item in fold 1, with the fields that are told."""
    told = {"id": f"item{number}", "case": f"case{number}", "fold": 1, "dataset": "ours", "ids": (1, 26), **more}
    return Item(shape=shape, spacing=(1.5, 1.5, 2.0), **told)


def _written(folder: Path, item: Item) -> Item:
    rng = np.random.default_rng([ord(letter) for letter in item.id])
    labels = np.full(item.shape, 200, np.uint8)
    labels[2:, 2:, 2:] = 1
    if 26 in item.ids:
        labels[-6:-3, -6:-3, -6:-3] = 26
    latent = [4, *(n // 4 for n in item.shape)]
    tensors = {name: torch.from_numpy(rng.random(latent, np.float32)).half() for name in ("mean", "sigma")}
    image = rng.random(item.shape, np.float32).astype(np.float16) if item.modality > 7 else None
    image = rng.integers(-1000, 1000, item.shape).astype(np.int16) if image is None else image
    np.save(folder / f"images/{item.id}.npy", image)
    np.savez_compressed(folder / f"labels/{item.id}.npz", labels=labels)
    save_file(tensors, folder / f"latents/{item.id}.safetensors")
    return replace(
        item, image=f"images/{item.id}.npy", label=f"labels/{item.id}.npz", latent=f"latents/{item.id}.safetensors"
    )
