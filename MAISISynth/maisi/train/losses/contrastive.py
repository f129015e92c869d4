"""The region-specific contrastive loss of MAISI-v2 (equations 5-9, FACTS 5.4).

The same noisy latents are predicted under the label map and under the same map without its lesions. Inside the lesions
the two predictions should differ (up to a cap), outside they should not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from maisi.train.losses.regions import Regions, coarser

_EPSILON = 1e-5


def region_contrast(
    first: Tensor, second: Tensor, regions: Regions, cap: float = 2.0, truth: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The two parts of the loss, each the mean over the images of the batch.

    Args:
        first, second: predictions ``[B, C, i, j, k]`` with and without the lesions. regions: on the same grid.
        cap: delta; a difference beyond it earns nothing. Without it training ends in NaN.
        truth: the released code takes the distance of ``second`` from this target as the background part, where the
            paper (None) takes that of the two predictions.

    Returns:
        L_roi = relu(cap - D) - cap with D the mean of abs(first - second) inside; L_bg, the mean outside. An image
        without lesions has L_roi = 0 and no gradient.
    """
    difference = (first.float() - second.float()).abs()
    distance = _mean_within(difference, regions.inside)
    background = difference if truth is None else (second.float() - truth.float()).abs()
    return (F.relu(cap - distance) - cap).mean(), _mean_within(background, regions.outside).mean()


def feature_contrast(
    first: Sequence[Tensor], second: Sequence[Tensor], regions: Regions, cap: float = 2.0
) -> tuple[Tensor, Tensor]:
    """The memory-aware form: the same on the ControlNet's features ``[B, C, i, j, k]``, the mean over their levels.

    Needs no second pass through the UNet. Each level is taken in units of its own root mean square, so that ``cap``
    keeps its meaning, which is one for values of unit variance.
    """
    parts = []
    for one, other in zip(first, second, strict=True):
        scale = one.detach().float().square().mean().sqrt() + _EPSILON
        parts.append(region_contrast(one / scale, other / scale, coarser(regions, one.shape[2:]), cap))
    inside, outside = zip(*parts, strict=True)
    return torch.stack(inside).mean(), torch.stack(outside).mean()


def pair_difference(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """For counterfactual pairs, whose true difference is known: squared error of the predicted difference.

    Args:
        prediction, target: ``[P, 2, C, i, j, k]``, index 0 without lesions. weight: ``[P, 1, i, j, k]``; the mean is
            divided by its mean.
    """
    error = (prediction[:, 1] - prediction[:, 0]).float() - (target[:, 1] - target[:, 0]).float()
    return (error.square() * weight).mean() / weight.mean()


def _mean_within(values: Tensor, weight: Tensor) -> Tensor:
    """``[B]``: mean of ``[B, C, i, j, k]`` over channels and places weighted by ``[B, 1, i, j, k]``; 0 without any."""
    total = (values * weight).flatten(1).sum(1)
    return total / (weight.flatten(1).sum(1) * values.shape[1] + _EPSILON)
