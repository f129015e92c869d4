"""Latents of the rendered cases. The encoder is fixed, so they are made while the decoder still learns."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import save

from maisi.train.embedded.dataset import SETTINGS, save_file
from maisi.train.prepare.folder import Plan
from maisi.train.prepare.latents import Encoder
from maisi.train.prepare.numbering import Numbering
from maisi.train.prepared import PREPARED, read_items, write_items


def write_latents(folder: Path, autoencoder: Path) -> None:
    """Encode every image in ``folder`` that has a label map and no latents yet, and say so in its list.

    The encoder standardizes its latents (see ``haar``), so the scale factor is 1.

    Args:
        autoencoder: folder of the decoder's run.

    Raises:
        InputError: the run has no weights yet.
    """
    encoder = Encoder.open(Plan((), {}, Numbering(), SETTINGS, autoencoder=autoencoder, device="cpu"))
    made_by = {"name": encoder.name, "sha256": encoder.sha256}
    settings = replace(SETTINGS, autoencoder=made_by, scale_factor=1.0)
    (folder / "latents").mkdir(exist_ok=True)
    items = []
    for item in read_items(folder):
        name = f"latents/{item.id}.safetensors"
        if item.label and not item.latent and not (folder / name).exists():
            mean, sigma = encoder.encode(item, folder)
            content = save({"mean": mean.half().contiguous(), "sigma": sigma.half().contiguous()})
            save_file(folder / name, lambda file, content=content: file.write(content))
        items.append(replace(item, latent=name) if item.label else item)
    write_items(folder, items)
    save_file(folder / PREPARED, lambda file: file.write(json.dumps(asdict(settings), indent=1).encode()))
