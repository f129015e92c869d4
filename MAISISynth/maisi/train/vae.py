"""Stage 1: the autoencoder. Its encoder is a fixed filter bank, its decoder is trained.

Whatever four linear numbers describe a 4x4x4 block best, they are close to its mean and its three slopes. An encoder
that computes just these is as good as one trained for hours, keeps absolute HU, and is known before any training: the
diffusion networks can be trained on its latents while the decoder still learns to draw edges from them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiResBlock
from torch import Tensor, nn

from maisi.models.intensity import IntensityScale
from maisi.models.networks import Autoencoder
from maisi.train.latents import standardize_latents
from maisi.train.loop import Loop
from maisi.train.pool import case_pool, load_real, random_patch

_SINK = 10.0
_SIGMA = 0.05


def prepare_autoencoder(network: Autoencoder, scale: IntensityScale, cases: list[Path]) -> None:
    """Initialise so that the network begins as a linear codec that keeps absolute HU and edges.

    - The last convolution of every residual block starts at zero: the block begins as its skip path.
    - The encoder begins as a fixed filter bank whose four latents are the mean and the three slopes of 4x4x4 blocks.
      From random filters training finds the mean at once but the slopes, which are edges, very late.
    - Group norm would make HU depend on how much air surrounds the patient. In front of the two final norms each
      group gets two constant channels, +10 and -10, that dominate its variance, and in the encoder every signal has a
      channel with its negative, so that the mean is constant: the norm is nearly a fixed scaling.
    - sigma is 0.05 of a standardized latent, everywhere: the decoder learns to bear that much error.

    Args:
        network: ``num_channels`` must grow from level to level. cases: files to standardize the latents with.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    for module in network.modules():
        if isinstance(module, MaisiResBlock):
            nn.init.zeros_(module.conv2.conv.conv.weight)
            nn.init.zeros_(module.conv2.conv.conv.bias)
    with torch.no_grad():
        _begin_as_filter_bank(network)
        for half in (network.encoder, network.decoder):
            block, norm = _last_residual_block(half)
            bias = block.conv2.conv.conv.bias.view(norm.num_groups, -1)
            bias[:, 0], bias[:, 1] = _SINK, -_SINK
    standardize_latents(network, scale, cases)
    nn.init.zeros_(network.quant_conv_log_sigma.conv.weight)
    nn.init.constant_(network.quant_conv_log_sigma.conv.bias, 2 * math.log(_SIGMA))


def _begin_as_filter_bank(network: Autoencoder) -> None:
    """Set the encoder's plain convolutions to two levels of a Haar-like transform (4 of its 64 coefficients remain)."""
    convolutions = {name: m for name, m in network.encoder.named_modules() if isinstance(m, nn.Conv3d)}
    plain = [m for name, m in convolutions.items() if ".conv1." not in name and ".conv2." not in name]
    into, first, widen, second, shortcut, out = plain
    for conv in plain:
        conv.weight.mul_(0.1)
        conv.bias.zero_()
    mean, slope = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([-0.5, 0.5, 0.0])
    banks = [(mean, mean, mean), (slope, mean, mean), (mean, slope, mean), (mean, mean, slope)]
    cubes = torch.stack([torch.einsum("i,j,k->ijk", *bank) for bank in banks])
    into.weight[0], into.weight[0, 0, 1, 1, 1] = 0.0, 1.0
    first.weight[:4], first.weight[:4, 0] = 0.0, cubes
    for channel in range(4):
        widen.weight[channel] = 0.0
        widen.weight[channel, channel] = 1.0
    second.weight[:4] = 0.0
    second.weight[:4, 0] = cubes  # mean of means; slopes of means (over 2 voxels)
    for axis in (1, 2, 3):
        second.weight[axis, axis] = 0.5 * cubes[0]  # plus the slopes within the halves
    shortcut.weight.zero_()
    out.weight.zero_()
    for component in range(4):
        channel = 2 + component  # channels 0 and 1 of the group are the constant ones
        shortcut.weight[channel, component], shortcut.weight[channel + 4, component] = 1.0, -1.0
        out.weight[component, channel, 1, 1, 1] = 1.0
    mu = network.quant_conv_mu.conv
    mu.weight.copy_(torch.eye(4).view(4, 4, 1, 1, 1))
    mu.bias.zero_()


def _last_residual_block(half: nn.Module) -> tuple[MaisiResBlock, nn.GroupNorm]:
    blocks = [m for m in half.blocks if isinstance(m, MaisiResBlock)]
    return blocks[-1], [m for m in half.blocks if isinstance(m, nn.GroupNorm)][-1]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 of values and of their differences along the three axes (edges), in the 0...1 range."""
    loss = F.l1_loss(output, target)
    for axis in (2, 3, 4):
        loss = loss + 0.3 * F.l1_loss(output.diff(dim=axis), target.diff(dim=axis))
    return loss


def train_decoder(
    run: Path,
    network: Autoencoder,
    scale: IntensityScale,
    cases: Path,
    real: Path | None,
    minutes: float,
    patch: int = 48,
    batch: int = 2,
    bfloat16: bool = True,
    learning_rate: float = 2e-3,
) -> None:
    """Train the decoder of a prepared ``network`` in place (resumable in ``run``); the latents stay as they are.

    Args:
        scale: HU <-> network range. cases: folder of rendered cases. real: folder with real CTs, or None.
        patch, batch: cube edge in voxels and number of cubes.
    """
    images = load_real(real) if real is not None else []
    pool = case_pool(cases)
    network.to(memory_format=torch.channels_last_3d)

    def draw(rng: np.random.Generator) -> np.ndarray:
        if images and rng.random() < 0.4:
            return random_patch(images[rng.integers(len(images))], patch, rng)
        return random_patch(pool.draw(rng).hu[1], patch, rng)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        hu = torch.from_numpy(np.stack([draw(rng) for _ in range(batch)])[:, None].astype(np.float32))
        x = scale.to_unit(hu).contiguous(memory_format=torch.channels_last_3d)
        torch.manual_seed(int(rng.integers(2**31)))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            with torch.no_grad():
                latents = network.sampling(*network.encode(x))
            output = network.decode(latents)
        output = output.float()
        fit = reconstruction_loss(output, x)
        with torch.no_grad():
            error = (scale.to_hu(output) - hu.clamp(-1000, 1000)).abs()
            soft = (hu > -150) & (hu < 250)
            metrics = {"hu_l1": error.mean().item(), "soft_l1": error[soft].mean().item() if soft.any() else 0.0}
        return fit, {"loss": fit.item(), **metrics}

    modules = {"decoder": network.decoder, "post_quant_conv": network.post_quant_conv}
    loop = Loop(run, modules, minutes, learning_rate)
    loop.train(loss)
    loop.averaged()
