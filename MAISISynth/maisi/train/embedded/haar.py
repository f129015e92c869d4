"""How the embedded model's autoencoder begins: a fixed filter bank as encoder, and norms that let absolute HU pass.

Whatever four linear numbers describe a block of 4x4x4 voxels best, they are close to its mean and its three slopes. An
encoder that computes just these is known before any training: the diffusion networks can be trained on its latents
while the decoder still learns to draw edges from them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiResBlock
from torch import Tensor, nn

from maisi.models.networks import COMPRESSION, LATENT_CHANNELS, Autoencoder

_INSIDE_BLOCKS = (".conv1.", ".conv2.")  # names of the convolutions of residual blocks


@torch.no_grad()
def begin_as_filter_bank(network: Autoencoder, patches: Tensor) -> None:
    """Initialise ``network`` as a linear code of 4x4x4 blocks.

    - The last convolution of every residual block starts at zero: the block begins as its skip path.
    - The encoder is a filter bank whose latents are the mean and the three slopes, standardized inside the body.
    - Group norm would make HU depend on how much air surrounds the patient. With ``norm_eps`` well above the variance
      of the features (about 1) it is nearly a fixed scaling, which the norms' weights undo; each signal has a channel
      with its negative, too, so that the mean is 0.
    - The decoder begins as interpolation of the blocks' means; it has all latents, interpolated, to draw edges with.

    Args:
        network: one norm group, ``norm_eps`` 100, ``num_channels`` growing from level to level, the last at least 8.
        patches: ``[N, 1, 4i, 4j, 4k]`` in the network's range, 0 = air.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, MaisiResBlock):
            nn.init.zeros_(module.conv2.conv.conv.weight)
        elif isinstance(module, nn.GroupNorm):
            nn.init.constant_(module.weight, module.eps**0.5)
    _make_filter_bank(network)
    _pass_latents_through(network)
    _standardize(network, patches)


def _make_filter_bank(network: Autoencoder) -> None:
    """Set the encoder's plain convolutions to two levels of a Haar-like transform (4 of its 64 coefficients remain)."""
    into, first, widen, second, shortcut, out = (
        m
        for name, m in network.encoder.named_modules()
        if isinstance(m, nn.Conv3d) and not any(part in name for part in _INSIDE_BLOCKS)
    )
    mean, slope = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([-0.5, 0.5, 0.0])
    banks = [(mean, mean, mean), (slope, mean, mean), (mean, slope, mean), (mean, mean, slope)]
    cubes = torch.stack([torch.einsum("i,j,k->ijk", *bank) for bank in banks])
    for conv in (into, first, widen, second, shortcut, out):
        conv.weight.zero_()
    into.weight[0, 0, 1, 1, 1] = 1.0
    first.weight[:LATENT_CHANNELS, 0] = cubes
    for channel in range(LATENT_CHANNELS):
        widen.weight[channel, channel] = 1.0
    second.weight[:LATENT_CHANNELS, 0] = cubes  # mean of means; slopes of means (over 2 voxels)
    for axis in (1, 2, 3):
        second.weight[axis, axis] = 0.5 * cubes[0]  # plus the slopes within the halves
    for component in range(LATENT_CHANNELS):
        shortcut.weight[component, component], shortcut.weight[component + LATENT_CHANNELS, component] = 1.0, -1.0
        out.weight[component, component, 1, 1, 1] = 1.0
    mu = network.quant_conv_mu.conv
    mu.weight.copy_(torch.eye(LATENT_CHANNELS).view(*mu.weight.shape))


def _pass_latents_through(network: Autoencoder) -> None:
    """The decoder's first channels hold the latents and their negatives on every level; the first is put out."""
    *inner, last = (
        m
        for name, m in network.decoder.named_modules()
        if isinstance(m, nn.Conv3d) and not any(part in name for part in _INSIDE_BLOCKS)
    )
    for conv in inner:
        conv.weight[: 2 * LATENT_CHANNELS] = 0.0
        middle = conv.kernel_size[0] // 2
        for channel in range(LATENT_CHANNELS):
            conv.weight[channel, channel, middle, middle, middle] = 1.0
            conv.weight[channel + LATENT_CHANNELS, channel, middle, middle, middle] = -1.0
    last.weight.zero_()
    last.weight[0, 0, 1, 1, 1] = 1.0
    post = network.post_quant_conv.conv
    post.weight.copy_(torch.eye(LATENT_CHANNELS).view(*post.weight.shape))


def _standardize(network: Autoencoder, patches: Tensor) -> None:
    """Each latent channel gets mean 0 and standard deviation 1 where there is a body, in the 1x1x1 convolutions."""
    latents = torch.cat([network.encode(patch[None])[0] for patch in patches])
    inside = F.avg_pool3d((patches > 0).float(), COMPRESSION)[:, 0] > 0.5
    values = latents.movedim(1, 0)[:, inside]
    mean, std = values.mean(1), values.std(1)
    mu = network.quant_conv_mu.conv
    mu.weight /= std.view(-1, 1, 1, 1, 1)
    mu.bias.copy_((mu.bias - mean) / std)
    last = [m for m in network.decoder.modules() if isinstance(m, nn.Conv3d)][-1]
    last.weight *= std[0]
    last.bias.fill_(mean[0])
