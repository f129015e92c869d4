"""The network's prediction under a mask, with or without classifier-free guidance (FACTS 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maisi.models.networks import Conditions
from maisi.models.weights import Networks


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
