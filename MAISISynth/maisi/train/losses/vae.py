"""Parts of the autoencoder's loss beside the perceptual and the adversarial one (FACTS 5.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_divergence(mean: Tensor, sigma: Tensor) -> Tensor:
    """From N(mean, sigma) to N(0, 1), summed over the latents ``[B, C, i, j, k]`` of an image; the mean over images."""
    variance = sigma.float().square()
    terms = mean.float().square() + variance - torch.log(variance + 1e-10) - 1
    return 0.5 * terms.flatten(1).sum(1).mean()


def reconstruction_error(output: Tensor, target: Tensor, norm: str = "l1") -> Tensor:
    """Mean absolute ("l1") or squared ("l2") error, in float32."""
    return (F.l1_loss if norm == "l1" else F.mse_loss)(output.float(), target.float())


def edge_error(output: Tensor, target: Tensor) -> Tensor:
    """L1 of the differences of neighbors along each of the three axes of ``[B, 1, I, J, K]``, summed over axes."""
    pairs = ((output.float().diff(dim=axis), target.float().diff(dim=axis)) for axis in (2, 3, 4))
    return torch.stack([F.l1_loss(a, b) for a, b in pairs]).sum()


def window_error(output: Tensor, target: Tensor, low: float, high: float) -> Tensor:
    """L1 within a window (soft tissue, say) in the network's range: what lies beyond it counts as its end."""
    return F.l1_loss(output.float().clamp(low, high), target.float().clamp(low, high)) / (high - low)
