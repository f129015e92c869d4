"""What the stages of a synthesis cost in operations and memory: counted on networks without data, tiled or whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from maisi.metering import Cost, meter
from maisi.models.fast import accelerate
from maisi.models.networks import COMPRESSION, MASK_BITS, Conditions, build_networks
from maisi.tiling.chain import Chain, decoder_chain, embedding_chain
from maisi.tiling.tile_plan import TILE_SIZES, TileCost, pass_cost, plan_tiles
from maisi.tiling.tiles import Tiles
from maisi.windows import FROM_MASK

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class StageCosts:
    """Costs for images of one shape.

    Attributes:
        config: of the networks. shape: of the latents. dtype: computed in.
        plain: MONAI's networks as they are, as the compatible profile runs them.
    """

    config: str
    shape: Shape
    dtype: torch.dtype
    plain: bool

    @property
    def value_bytes(self) -> int:
        """Bytes of one number."""
        return self.dtype.itemsize

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by role, on the device "meta"."""
        return _bare_networks(self.config, self.dtype, self.plain)

    def weight_bytes(self, *roles: str) -> float:
        """Bytes of the weights of those networks that there are."""
        there = (self.networks[role] for role in roles if role in self.networks)
        return float(sum(p.numel() for network in there for p in network.parameters()) * self.value_bytes)

    @cached_property
    def step(self) -> Cost:
        """One evaluation of ControlNet and UNet."""
        latents = self._empty(self.networks["unet"].latent_channels, 1)
        takes = self.networks["unet"].state_dict().keys()
        has = {name: any(key.startswith(name) for key in takes) for name in ("class_emb", "top_", "bottom_")}
        with torch.device("meta"):
            time = torch.empty(1, dtype=self.dtype)
            modality = torch.zeros(1, dtype=torch.long) if has["class_emb"] else None
            top, bottom = (torch.empty(1, 4, dtype=self.dtype) if has[name] else None for name in ("top_", "bottom_"))
            conditions = Conditions(torch.empty(1, 3, dtype=self.dtype), modality, top, bottom)

        def evaluate() -> Tensor:
            residuals = None
            if "controlnet" in self.networks:
                embedding = self._empty(self._embedding.channels[-1], 1)
                residuals = self.networks["controlnet"](latents, time, embedding, modality)
            return self.networks["unet"](latents, time, conditions, residuals)

        return meter(evaluate)

    # ---- embedding the mask

    @property
    def embedding_bytes(self) -> float:
        """Bytes of a mask embedding."""
        return float(self._embedding.channels[-1] * prod(self.shape) * self.value_bytes)

    def embed(self, tiles: Tiles | None) -> Cost:
        """Making a mask embedding."""
        if tiles is not None:
            flop, peak = self._embedding_pass(tiles.size)
            return Cost(flop, peak + self.embedding_bytes)
        cost = meter(lambda: self.networks["controlnet"].embed_mask(self._empty(MASK_BITS, COMPRESSION)))
        bits = MASK_BITS * prod(self.shape) * COMPRESSION**3 * self.value_bytes
        return Cost(cost.flop, cost.bytes + bits)

    def embedding_tiles(self, budget: float) -> Tiles:
        """The largest real tiles that fit into ``budget`` bytes, or else the smallest there are."""
        sizes = [size for size in TILE_SIZES if size < max(self.shape)] or TILE_SIZES[-1:]
        fitting = (size for size in sizes if self._embedding_pass(size)[1] + self.embedding_bytes <= budget)
        return Tiles(next(fitting, sizes[-1]))

    @cached_property
    def _embedding(self) -> Chain:
        return embedding_chain(self.networks["controlnet"].controlnet_cond_embedding)

    def _embedding_pass(self, size: int) -> tuple[float, float]:
        return pass_cost(self._embedding, self.shape, size, 0, len(self._embedding.layers), self.value_bytes)

    # ---- decoding

    @cached_property
    def decode(self) -> Cost:
        """Decoding the whole at once."""
        autoencoder = self.networks["autoencoder"]
        return meter(lambda: autoencoder.decode(self._empty(autoencoder.latent_channels, 1)))

    @cached_property
    def decode_windows(self) -> Cost:
        """Decoding in the reference's windows."""
        window = FROM_MASK.places(self.shape)[0]
        autoencoder, size = self.networks["autoencoder"], (s.stop - s.start for s in window)
        latents = torch.empty(1, autoencoder.latent_channels, *size, dtype=self.dtype, device="meta")
        cost = meter(lambda: autoencoder.decode(latents))
        stitched = 3 * prod(self.shape) * COMPRESSION**3 * self.value_bytes  # sums, weights and their ratio
        return Cost(cost.flop * len(FROM_MASK.places(self.shape)), cost.bytes + stitched)

    def decode_tiles(self, device: str, budget: float, host_budget: float, sizes: tuple[int, ...]) -> TileCost | None:
        """The fastest tiles within the budgets (bytes), or None."""
        return plan_tiles(self._decoder, self.shape, self.value_bytes, device, budget, host_budget, sizes)

    def smallest_tiles(self, device: str, budget: float, host_budget: float) -> TileCost:
        """About the least memory on the device that will do, where ``budget`` will not."""
        budgets = (max(budget, 2**24) * 1.4**n for n in count())
        found = (self.decode_tiles(device, b, host_budget, TILE_SIZES[-3:]) for b in budgets)
        return next(cost for cost in found if cost is not None)

    @cached_property
    def _decoder(self) -> Chain:
        return decoder_chain(self.networks["autoencoder"])

    def _empty(self, channels: int, scale: int) -> Tensor:
        return torch.empty(1, channels, *(n * scale for n in self.shape), dtype=self.dtype, device="meta")


@lru_cache(maxsize=16)
def stage_costs(networks: str, shape: Shape, dtype: torch.dtype, plain: bool) -> StageCosts:
    """The costs for latents of ``shape``; ``networks``: the card's, as :func:`as_key` tells them."""
    return StageCosts(networks, shape, dtype, plain)


def as_key(networks: dict[str, Any]) -> str:
    """The keyword arguments of networks as a string."""
    return json.dumps(networks, sort_keys=True)


@lru_cache(maxsize=4)
def _bare_networks(config: str, dtype: torch.dtype, plain: bool) -> dict[str, nn.Module]:
    with torch.device("meta"):
        networks = build_networks(json.loads(config))
    for network in networks.values():
        network.eval().requires_grad_(False)
        if plain:
            network.to(dtype)
        else:
            accelerate(network, dtype)
    return networks
