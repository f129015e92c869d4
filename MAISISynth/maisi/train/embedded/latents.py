"""Latents of the rendered cases. The encoder is fixed, so they are made while the decoder still learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save
from torch import nn

from maisi.errors import InputError
from maisi.train.embedded.dataset import SETTINGS, save_file, write_settings
from maisi.train.prepare.folder import Plan
from maisi.train.prepare.latents import Encoder, checksum_of
from maisi.train.prepare.numbering import Numbering
from maisi.train.prepared import read_items, read_settings, write_items


def write_latents(folder: Path, autoencoder: Path) -> None:
    """Encode every image in ``folder`` that has a label map and no latents yet, and say so in its list.

    The encoder standardizes its latents (see ``haar``), so the scale factor is 1. Nothing else may write in ``folder``
    meanwhile.

    Args:
        autoencoder: folder of the decoder's run.

    Raises:
        InputError: the run has no weights yet, or there are latents of another autoencoder.
    """
    encoder = Encoder.open(Plan((), {}, Numbering(), SETTINGS, autoencoder=autoencoder, device="cpu"))
    settings, items = read_settings(folder), read_items(folder)
    fixed = nn.ModuleList([encoder.network.encoder, encoder.network.quant_conv_mu])
    made_by = {"name": encoder.name, "sha256": checksum_of(fixed)}
    if settings.autoencoder.get("sha256", made_by["sha256"]) != made_by["sha256"]:
        raise InputError(f"The latents in {folder} come from another encoder; make the cases anew in another folder.")
    write_settings(folder, replace(settings, autoencoder=made_by, scale_factor=1.0))
    (folder / "latents").mkdir(exist_ok=True)
    done = []
    for item in items:
        name = f"latents/{item.id}.safetensors"
        if item.label and not (folder / name).exists():
            mean, sigma = encoder.encode(item, folder)
            content = save({"mean": mean.half().contiguous(), "sigma": sigma.half().contiguous()})
            save_file(folder / name, lambda file, content=content: file.write(content))
        done.append(replace(item, latent=name) if item.label else item)
    write_items(folder, done)
