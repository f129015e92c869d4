"""Stage 1: the autoencoder, on patches of real CTs and of rendered cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiResBlock
from torch import Tensor, nn

from maisi.models.intensity import IntensityScale
from maisi.models.networks import Autoencoder
from maisi.train.loop import Loop
from maisi.train.pool import CasePool, load_real, random_patch

_SINK = 3.0


def prepare_autoencoder(network: Autoencoder) -> None:
    """Initialise so that the network begins as a nearly linear codec that keeps absolute HU.

    - The last convolution of every residual block starts at zero: the block begins as its skip path.
    - Group norm would make HU depend on how much air surrounds the patient. In front of the two final norms each
      group gets two constant channels, +3 and -3, that dominate its statistics, so the norm is nearly a fixed scaling.
    - log sigma starts at -5 and hardly depends on the input: the latents are not drowned in noise.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    for module in network.modules():
        if isinstance(module, MaisiResBlock):
            nn.init.zeros_(module.conv2.conv.conv.weight)
            nn.init.zeros_(module.conv2.conv.conv.bias)
    for half in (network.encoder, network.decoder):
        block, norm = _last_residual_block(half)
        bias = block.conv2.conv.conv.bias.detach().view(norm.num_groups, -1)
        bias[:, 0], bias[:, 1] = _SINK, -_SINK
    sigma = network.quant_conv_log_sigma.conv
    with torch.no_grad():
        sigma.weight.mul_(0.1)
        sigma.bias.fill_(-5.0)


def _last_residual_block(half: nn.Module) -> tuple[MaisiResBlock, nn.GroupNorm]:
    blocks = [m for m in half.blocks if isinstance(m, MaisiResBlock)]
    return blocks[-1], [m for m in half.blocks if isinstance(m, nn.GroupNorm)][-1]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 of values and of their differences along the three axes (edges), in the 0...1 range."""
    loss = F.l1_loss(output, target)
    for axis in (2, 3, 4):
        loss = loss + 0.3 * F.l1_loss(output.diff(dim=axis), target.diff(dim=axis))
    return loss


def train_vae(
    run: Path,
    network: Autoencoder,
    scale: IntensityScale,
    cases: Path,
    real: Path | None,
    minutes: float,
    patch: int = 48,
    batch: int = 2,
    bfloat16: bool = True,
    decoder_only: bool = False,
    learning_rate: float = 2e-3,
) -> None:
    """Train ``network`` in place (resumable in ``run``) and leave the averaged weights in it.

    Args:
        scale: HU <-> network range. cases: folder of rendered cases. real: folder with real CTs, or None.
        patch, batch: cube edge in voxels and number of cubes. decoder_only: keep the latents as they are.
    """
    images = load_real(real) if real is not None else []
    pool = CasePool(cases)
    if decoder_only:
        network.encoder.requires_grad_(False)
        network.quant_conv_mu.requires_grad_(False)
        network.quant_conv_log_sigma.requires_grad_(False)
    network.to(memory_format=torch.channels_last_3d)

    def draw(rng: np.random.Generator) -> np.ndarray:
        if images and rng.random() < 0.5:
            return random_patch(images[rng.integers(len(images))], patch, rng)
        return random_patch(pool.draw(rng).hu[1], patch, rng)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        hu = torch.from_numpy(np.stack([draw(rng) for _ in range(batch)])[:, None].astype(np.float32))
        x = scale.to_unit(hu).contiguous(memory_format=torch.channels_last_3d)
        torch.manual_seed(int(rng.integers(2**31)))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            output, mean, sigma = network(x)
        output, mean, sigma = output.float(), mean.float(), sigma.float()
        kl = 0.5 * (mean**2 + sigma**2 - 2 * torch.log(sigma + 1e-6) - 1).mean()
        fit = reconstruction_loss(output, x)
        with torch.no_grad():
            error = (scale.to_hu(output) - hu.clamp(-1000, 1000)).abs()
            soft = (hu > -150) & (hu < 250)
            metrics = {"hu_l1": error.mean().item(), "soft_l1": error[soft].mean().item() if soft.any() else 0.0}
        return fit + 1e-5 * kl, {"loss": fit.item(), "kl": kl.item(), **metrics}

    loop = Loop(run, {"autoencoder": network}, minutes, learning_rate)
    loop.train(loss)
    loop.averaged()
