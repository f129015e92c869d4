"""From weight files to networks: only those a job needs, and only intact ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from maisi.errors import WeightsError
from maisi.models.checkpoint import Checkpoint, check_fit, metadata_of, read_checkpoint
from maisi.models.checksums import check
from maisi.models.networks import Autoencoder, ControlNet, DiffusionUNet, build_networks
from maisi.models.store import half_path, weight_path
from maisi.models.variants import Variant, WeightFile

ROLES = ("autoencoder", "unet", "controlnet")


@dataclass(frozen=True)
class Networks:
    """Networks of a variant, in evaluation mode on one device; None for those not asked for or not there.

    Attributes:
        scale_factor: latents of the autoencoder times this are what the UNet works on (FACTS 1.8); None where the UNet,
            whose file tells it, was not asked for.
    """

    variant: Variant
    autoencoder: Autoencoder | None
    unet: DiffusionUNet | None
    controlnet: ControlNet | None
    device: torch.device
    scale_factor: float | None = None


def load_networks(
    variant: Variant, device: torch.device, roles: Iterable[str] = ROLES, half: bool | None = None
) -> Networks:
    """Build the networks ``roles`` of ``variant`` and fill them with its verified weights, as float32.

    Args:
        roles: of "autoencoder", "unet" and "controlnet"; those the variant does not have are None in the result.
        half: take the half-precision copies where there are any (see :mod:`maisi.models.half`). None: on CUDA, where
            float16 is what the networks compute in.

    Raises:
        WeightsError: see :func:`load_state`.
    """
    half = device.type == "cuda" if half is None else half
    wanted = [role for role in ROLES if role in set(roles) and role in variant.networks]
    with torch.device("meta"):
        built = build_networks({role: variant.networks[role] for role in wanted})
    scale_factor = variant.scale_factor
    for role in wanted:
        state, told = load_state(variant, role, half)
        built[role].load_state_dict(state, strict=True, assign=True)
        built[role] = _ready(built[role], device)
        scale_factor = told if scale_factor is None else scale_factor
    if "unet" in wanted and scale_factor is None:
        raise WeightsError(
            f"Neither the card nor the weights of {variant.name} tell the scale factor of its latents; "
            "get the published weights again."
        )
    return Networks(variant, *(built.get(role) for role in ROLES), device, scale_factor)


def load_state(variant: Variant, role: str, half: bool = False) -> Checkpoint:
    """The tensors of one network, as they stand in its file (dtype, mapped from the disk), and the scale factor.

    Args:
        half: take the half-precision copy if there is one; else it is taken only where the original is absent.

    Raises:
        WeightsError: no file, or one that is damaged, altered, a pickle with code, or of another network.
    """
    file = next((file for file in variant.weights if file.role in (role, "all")), None)
    if file is None:
        raise WeightsError(f"The card of the model {variant.name} names no weights of its {role}; complete it.")
    path = _checked_path(variant, file, half)
    state, scale_factor = read_checkpoint(path)
    if file.role == "all":
        state = {key.removeprefix(f"{role}."): v for key, v in state.items() if key.startswith(f"{role}.")}
    check_fit(state, expected_state(variant, role), path, f"{role} of {variant.name}")
    return Checkpoint(state, scale_factor)


def expected_state(variant: Variant, role: str) -> dict[str, Tensor]:
    """Names and shapes of the tensors of one network of ``variant``; the tensors themselves hold nothing ("meta")."""
    with torch.device("meta"):
        return build_networks({role: variant.networks[role]})[role].state_dict()


def _checked_path(variant: Variant, file: WeightFile, half: bool) -> Path:
    original, copy = weight_path(variant, file), half_path(variant, file)
    if not (original.is_file() or copy.is_file()):
        how = f"maisi models download {variant.name}" if file.repository else "reinstall the model"
        raise WeightsError(f"The weights of {variant.name} are missing ({original}); get them with: {how}.")
    if copy.is_file() and (half or not original.is_file()):
        check(copy, None)
        if file.sha256 not in (None, metadata_of(copy).get("source_sha256")):
            raise WeightsError(f"The weight file {copy} was not made from the published one; delete it.")
        return copy
    check(original, file.sha256)
    return original


def _ready(network: nn.Module, device: torch.device) -> nn.Module:
    # Travels in the file's own precision; in the other order half weights would travel as float32.
    network.to(device)
    return network.float().eval().requires_grad_(False)
