"""From a configuration's section "network" to networks: sizes from a model's card, weights from wherever it says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks.selfattention import SABlock
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from maisi.errors import InputError
from maisi.models.checkpoint import Checkpoint, check_fit, read_checkpoint
from maisi.models.fast import use_native_kernels
from maisi.models.mask_networks import MASK_NETWORKS, MaskAutoencoder, MaskDiffusionUNet
from maisi.models.networks import CLASSES
from maisi.models.variants import Variant, get_variant, make_variant, read_card
from maisi.models.weights import load_state
from maisi.new_classes import NewClass
from maisi.train.stages.sections import NetworkConfig

NETWORK_CLASSES = {**CLASSES, "mask_autoencoder": MaskAutoencoder, "mask_unet": MaskDiffusionUNet}
MODEL = "model"  # as the source of weights
WEIGHTS = "weights"  # folder of a run
CLASSES_KEY = "classes"  # in the header of weight files


@dataclass(frozen=True)
class Start:
    """The networks that a training begins with.

    Attributes:
        card: of the model, with what the configuration changes of it. variant: the same, checked.
        sizes: of all networks, by role. weights: where each role's weights come from (see :class:`NetworkConfig`).
    """

    card: dict[str, Any]
    variant: Variant
    sizes: Mapping[str, dict[str, Any]]
    weights: Mapping[str, str]

    @classmethod
    def of(cls, config: NetworkConfig) -> Start:
        """Raises InputError: no such model, no such network, or a card that cannot be."""
        base, card = get_variant(config.model), read_card(config.model)
        known = {**MASK_NETWORKS, **base.networks}
        for role in (*config.networks, *config.weights):
            if role not in known:
                raise InputError(f"There is no network {role!r} in the model {base.name}; it has: {', '.join(known)}.")
        sizes = {role: {**size, **config.networks.get(role, {})} for role, size in known.items()}
        card["model"] = _merged(card["model"], config.card)
        card["model"]["networks"] = {role: sizes[role] for role in base.networks}
        try:
            return cls(card, make_variant(card, base.folder), sizes, config.weights)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"network.card does not fit a model card ({error!r}); correct it.") from error

    def build(self, role: str) -> nn.Module:
        """The network ``role`` with random weights.

        Raises:
            InputError: the model has none, or sizes that it cannot have.
        """
        if role not in self.sizes:
            raise InputError(f"The model {self.variant.name} has no {role}; choose another one for network.model.")
        try:
            network = NETWORK_CLASSES[role](**self.sizes[role])
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"The sizes of network.networks.{role} do not work ({error}); correct them.") from error
        use_native_kernels(network)
        for module in network.modules():
            if isinstance(module, SABlock):
                module.use_flash_attention = True  # the same numbers with less memory, on every device
        return network

    def state(self, role: str) -> Checkpoint | None:
        """Weights that ``role`` begins with, or None where the configuration names none.

        Raises:
            InputError: a run without weights. WeightsError: missing, damaged, or of other sizes.
        """
        source = self.weights.get(role)
        if source is None:
            return None
        if source == MODEL:
            state, told = load_state(self.variant, role)
            return Checkpoint(state, self.variant.scale_factor if told is None else told)
        path = Path(source).expanduser()
        if path.is_dir():
            path = path / WEIGHTS / f"{role}.safetensors"
            if not path.is_file():
                raise InputError(f"The run {source} has no trained {role} yet ({path}); train it first.")
        state, scale_factor = read_checkpoint(path)
        state = {k.removeprefix(f"{role}."): v for k, v in state.items()}
        with torch.device("meta"):
            check_fit(state, self.build(role).state_dict(), path, role)
        return Checkpoint(state, scale_factor)

    def load(self, role: str, needed: bool = False) -> tuple[nn.Module, float | None]:
        """The network ``role``, with its weights where some are named, and the scale factor that they tell.

        Raises:
            InputError: weights are ``needed``, and the configuration names none.
        """
        if needed and role not in self.weights:
            raise InputError(f'This training needs a trained {role}; set network.weights.{role} to "model" or a run.')
        network, found = self.build(role), self.state(role)
        if found is not None:
            network.load_state_dict(found.state)
        return network, None if found is None else found.scale_factor

    def frozen(self, role: str, device: torch.device, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The trained network ``role``, only to be used. Raises InputError: the configuration names no weights."""
        return self.load(role, needed=True)[0].to(device, dtype).eval().requires_grad_(False)


def _merged(model: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``model`` with ``changes``; where both have a section its entries are merged."""
    return {
        key: {**model[key], **changes[key]} if isinstance(model.get(key), dict) and key in changes else value
        for key, value in {**model, **changes}.items()
    }


def write_weights(
    folder: Path,
    role: str,
    network: nn.Module,
    scale_factor: float | None = None,
    classes: Iterable[NewClass] = (),
) -> Path:
    """Write ``role.safetensors`` into ``folder``, atomically, in full precision.

    Args:
        scale_factor: of the latents that a UNet was trained on. classes: lesion classes beyond the vocabulary.

    Raises:
        InputError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if scale_factor is not None:
        tensors["scale_factor"] = torch.tensor(scale_factor)
    metadata = {"format": "pt", CLASSES_KEY: json.dumps([one.to_json() for one in classes])}
    path = folder / f"{role}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path.with_suffix(".part"), metadata=metadata)
        path.with_suffix(".part").replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} could not be written ({error}); make room there.") from error
    return path
