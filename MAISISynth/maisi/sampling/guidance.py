"""The network's prediction under a mask, with or without classifier-free guidance (FACTS 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maisi.labels import remove_lesions
from maisi.models.networks import Conditions
from maisi.models.variants import Variant
from maisi.models.weights import Networks
from maisi.options import Options
from maisi.sampling.conditions import Target, make_conditions
from maisi.sampling.reference import remove_tumors_like_reference

Embed = Callable[[np.ndarray], Tensor]  # uint8 labels [B, I, J, K] -> mask embeddings [B, C, i, j, k] on the device


@dataclass(frozen=True)
class Branch:
    """One set of conditions: the embedded mask ``[1, C, i, j, k]`` (None: no mask) and the rest."""

    mask: Tensor | None
    conditions: Conditions


class Predictor:
    """Velocity (or noise) for latents at a time: ``predict(x, time)``, ``[1, 4, i, j, k]`` -> the same.

    With a second branch, the unconditional one, the result is v_u + scale (v_c - v_u).

    Args:
        branches: the conditional one, and the unconditional one for guidance. scale: of the guidance.
        dtype: of the networks; latents and result stay in the dtype of ``x``.
        compatible: as the reference computes: both branches in one batch instead of one after the other in half the
            memory, and channels first.
    """

    def __init__(
        self,
        networks: Networks,
        branches: Sequence[Branch],
        scale: float = 0.0,
        dtype: torch.dtype = torch.float32,
        compatible: bool = False,
    ) -> None:
        self._networks = networks
        self._branches = [_join(branches)] if compatible else list(branches)
        self._layout = torch.contiguous_format if compatible else torch.channels_last_3d
        self._count = len(branches)
        self._scale = scale
        self._dtype = dtype

    def __call__(self, x: Tensor, time: float) -> Tensor:
        inputs = x.to(self._dtype).contiguous(memory_format=self._layout)
        outputs = torch.cat([self._run(inputs, time, branch) for branch in self._branches]).to(x.dtype)
        if self._count == 1:
            return outputs
        conditional, unconditional = outputs.chunk(2)
        return unconditional + self._scale * (conditional - unconditional)

    def _run(self, x: Tensor, time: float, branch: Branch) -> Tensor:
        conditions = branch.conditions
        x = x.repeat(len(conditions.spacing), 1, 1, 1, 1) if len(conditions.spacing) > 1 else x
        times = torch.full((len(x),), time, device=x.device)  # filled on the device: no transfer, no waiting
        residuals = None
        if branch.mask is not None:
            residuals = self._networks.controlnet(x, times, branch.mask, conditions.modality)
        return self._networks.unet(x, times, conditions, residuals)


def _join(branches: Sequence[Branch]) -> Branch:
    """Several branches as one batch."""
    masks = [branch.mask for branch in branches]
    joined = [
        None if any(p is None for p in parts) else torch.cat(parts)
        for parts in zip(*(b.conditions for b in branches), strict=True)
    ]
    return Branch(None if masks[0] is None else torch.cat(masks), Conditions(*joined))


def make_predictor(networks: Networks, target: Target, options: Options, embed: Embed, dtype: torch.dtype) -> Predictor:
    """The predictor for an image of ``target``: conditional and, where guidance asks for it, unconditional.

    Raises:
        InputError: conditions that the model does not know or that are missing.
    """
    branches = _branches(networks, target, options, embed, dtype)
    return Predictor(networks, branches, _scale(options, networks.variant), dtype, options.compatible)


def _scale(options: Options, variant: Variant) -> float:
    return variant.guidance if options.guidance is None else options.guidance


def _branches(networks: Networks, target: Target, options: Options, embed: Embed, dtype: torch.dtype) -> list[Branch]:
    """The conditional branch and, where guidance is asked for and makes a difference, the unconditional one."""
    conditions = make_conditions(networks.variant, target, options, networks.device)
    modality = conditions.modality
    conditions = conditions._replace(
        **{name: v.to(dtype) for name, v in conditions._asdict().items() if v is not None and name != "modality"}
    )
    guided = _scale(options, networks.variant) != 0
    masks = [] if target.labels is None else [target.labels]
    if guided and masks:
        remove = remove_tumors_like_reference if options.compatible else remove_lesions
        free = remove(target.labels)
        if options.compatible or not np.array_equal(free, target.labels):
            masks.append(free)
    embedded = embed(np.stack(masks)).split(1) if masks else [None]
    branches = [Branch(embedded[0], conditions)]
    if not guided or (modality is None and len(embedded) == 1):
        return branches  # a second branch would be the same as the first
    unknown = None if modality is None else torch.zeros_like(modality)
    return [*branches, Branch(embedded[-1], conditions._replace(modality=unknown))]
