"""Finding, checking and opening weight files. Nothing else opens them, and nothing in them can run code."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from maisi.errors import WeightsError
from maisi.models.networks import Autoencoder, ControlNet, DiffusionUNet, build_networks
from maisi.models.variants import Variant


@dataclass(frozen=True)
class Networks:
    """The three networks of a variant, in evaluation mode on one device."""

    variant: Variant
    autoencoder: Autoencoder
    unet: DiffusionUNet
    controlnet: ControlNet
    device: torch.device


def read_state(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or ``.pt`` file, by name.

    Args:
        sha256: expected checksum of the file, or None to accept any.

    Raises:
        WeightsError: missing, other checksum, damaged, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"The weight file {path} is missing; reinstall the extension or copy the file there.")
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(f"The weight file {path} is not the published one (SHA-256 differs); get it again.")
    try:
        if path.suffix == ".safetensors":
            return parse_safetensors(content)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} holds more than weights and was not opened, since it could run code.") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"The weight file {path} is damaged or incomplete; get it again.") from error


def load_networks(variant: Variant, device: torch.device) -> Networks:
    """Build the networks of ``variant`` and fill them with its verified weights (float32).

    Raises:
        WeightsError: see :func:`read_state`; also if the tensors are not those of the variant's networks.
    """
    file = variant.weights[0]
    path = variant.folder / file.file
    state = read_state(path, file.sha256)
    with torch.device("meta"):
        built = build_networks(variant.networks)
    for prefix, network in zip(("autoencoder.", "unet.", "controlnet."), built, strict=True):
        part = {k.removeprefix(prefix): v.float() for k, v in state.items() if k.startswith(prefix)}
        try:
            network.load_state_dict(part, strict=True, assign=True)
        except RuntimeError as error:
            raise WeightsError(
                f"The weight file {path} does not fit the networks of {variant.name}; get it again."
            ) from error
        network.to(device, memory_format=torch.channels_last_3d).eval().requires_grad_(False)
    return Networks(variant, *built, device)
