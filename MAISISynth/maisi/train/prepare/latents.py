"""Latents of prepared images: made once, mean and standard deviation both kept, so that each epoch draws its own.

The reference stores one draw for good (FACTS 5.1), whose noise the networks then learn.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from maisi.decoding import encode_distribution
from maisi.devices import free_memory_gb, resolve_device
from maisi.errors import InputError, OutOfMemoryError
from maisi.modalities import is_mr
from maisi.models.fast import accelerate
from maisi.models.intensity import IntensityScale
from maisi.models.networks import COMPRESSION, Autoencoder
from maisi.tiling.chain import Chain, encoder_chain
from maisi.tiling.tile_plan import HOST, pass_cost, plan_tiles
from maisi.tiling.tiles import Tiles
from maisi.train.prepare.folder import Plan, PreparedFolder
from maisi.train.prepared import Item
from maisi.train.stages.sections import NetworkConfig
from maisi.train.stages.start import Start

SHARE = 0.6  # of the free memory that may be planned with
GB = 1024**3


@dataclass(frozen=True)
class Encoder:
    """An autoencoder that encodes prepared images.

    Attributes:
        name, sha256: which one, and a checksum of its weights. intensity: HU -> its range.
    """

    network: Autoencoder
    name: str
    sha256: str
    intensity: IntensityScale
    device: torch.device
    chain: Chain

    @classmethod
    def open(cls, plan: Plan) -> Encoder:
        """The autoencoder that ``plan`` names: of a model, or of a weight file or run in its place.

        Raises:
            InputError, WeightsError: there is none, or it cannot be used.
        """
        start, device = Start.of(network_of(plan)), resolve_device(plan.device)
        network = start.load("autoencoder", needed=True)[0].to(device).eval().requires_grad_(False)
        sha256 = checksum_of(network)
        accelerate(network, torch.float16 if device.type == "cuda" else torch.float32)
        name = plan.autoencoder.name if plan.autoencoder else plan.model
        return cls(network, name, sha256, start.variant.intensity, device, encoder_chain(network))

    def encode_case(self, case: str, folder: PreparedFolder) -> None:
        """Write the latents of all images of a case that lack them, and name them in its record."""
        if folder.has_latents(case, self.sha256):
            return
        files, items, moments = {}, [], np.zeros(3)
        for item in folder.items(case):
            mean, sigma = self.encode(item, folder.path)
            name = f"latents/{item.id}.safetensors"
            tensors = {"mean": mean.half().contiguous(), "sigma": sigma.half().contiguous()}
            files |= folder.write(name, lambda path, tensors=tensors: path.write_bytes(save(tensors)))
            items.append(replace(item, latent=name))
            moments += _moments(mean, sigma)
        told = {"autoencoder": self.sha256, "name": self.name, "files": files, "moments": moments.tolist()}
        folder.write_record(case, folder.read_record(case) | {"items": [vars(i) for i in items], "latents": told})

    def encode(self, item: Item, folder: Path) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of one image, float32 ``[4, i, j, k]``, on the host."""
        values = torch.from_numpy(np.load(folder / item.image, allow_pickle=False).astype(np.float32))[None, None]
        unit = values if is_mr(item.modality) else self.intensity.to_unit(values)
        found = encode_distribution(self.network, unit, self.device, self.tiles(item.shape))
        mean, sigma = (tensor[0].cpu() for tensor in found)
        if not torch.isfinite(mean).all() or not torch.isfinite(sigma).all():
            raise InputError("The autoencoder's latents are not finite; try --device cpu, or another autoencoder.")
        return mean, sigma

    def tiles(self, shape: tuple[int, ...]) -> Tiles | None:
        """None where the whole image fits into the free memory at once, else exact tiles that do.

        Raises:
            OutOfMemoryError: not even the smallest tiles fit.
        """
        latent = tuple(n // COMPRESSION for n in shape)
        size, bytes_each = max(latent), next(self.network.parameters()).dtype.itemsize
        budget = SHARE * self._free_bytes(self.device)
        if pass_cost(self.chain, latent, size, 0, len(self.chain.layers), bytes_each)[1] <= budget:
            return None
        host = SHARE * self._free_bytes(torch.device(HOST)) if self.device.type != HOST else 0.0
        found = plan_tiles(self.chain, latent, bytes_each, self.device.type, budget, host)
        if found is None:
            raise OutOfMemoryError(
                f"An image of {' x '.join(map(str, shape))} voxels ({prod(shape) / 1e6:.0f} million) cannot be encoded "
                f"within {budget / GB:.1f} GB on {self.device}; use fewer processes or another device."
            )
        return found.tiles

    @staticmethod
    def _free_bytes(device: torch.device) -> float:
        sharing = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if device.type == HOST else 1
        return free_memory_gb(device) * GB / sharing


def network_of(plan: Plan) -> NetworkConfig:
    """The autoencoder that ``plan`` names as a configuration: sizes of the model, or of a run that trained it."""
    if plan.autoencoder is None:
        return NetworkConfig(model=plan.model, weights={"autoencoder": "model"})
    weights = {"autoencoder": str(plan.autoencoder)}
    if plan.autoencoder.is_dir():
        return NetworkConfig(**(_configuration(plan.autoencoder) | {"weights": weights}))
    if plan.model is None:
        raise InputError("--autoencoder FILE needs --model NAME, whose autoencoder it is; a run tells that by itself.")
    return NetworkConfig(model=plan.model, weights=weights)


def _configuration(run: Path) -> dict:
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]["network"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{run} is not the folder of a training ({error!r}); give its folder or a weight file."
        ) from error


def checksum_of(network: Autoencoder) -> str:
    """SHA-256 of the weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _moments(mean: Tensor, sigma: Tensor) -> np.ndarray:
    """Number, sum and sum of squares of values drawn from the distribution, as expected."""
    mean, sigma = mean.double(), sigma.double()
    return np.array([mean.numel(), mean.sum().item(), (mean.square() + sigma.square()).sum().item()])
