"""How the embedded model's autoencoder begins: a fixed filter bank as encoder, and norms that let absolute HU pass.

The latents of a block of 4x4x4 voxels are its mean, its three slopes and, with ten latent channels, its six second
derivatives, close to what any ten linear numbers could tell about it. Such an encoder is known before any training: the
diffusion networks can be trained on its latents while the decoder still learns to draw edges from them.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiResBlock
from torch import Tensor, nn

from maisi.models.networks import COMPRESSION, Autoencoder

_INSIDE_BLOCKS = (".conv1.", ".conv2.")  # names of the convolutions of residual blocks
# Order of the derivative along I, J, K that each latent channel measures.
_ORDERS = (
    *((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
    *((1, 1, 0), (1, 0, 1), (0, 1, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2)),
)
# Along one axis: means and slopes of pairs of voxels, and what makes derivatives of a row of four out of them.
_PAIR = {"mean": (0.5, 0.5), "slope": (-0.5, 0.5)}
_ROW = {
    (0, "mean"): (0.5, 0.5),
    (1, "mean"): (-0.5, 0.5),
    (1, "slope"): (0.25, 0.25),
    (2, "slope"): (-0.5, 0.5),
}


@torch.no_grad()
def begin_as_filter_bank(network: Autoencoder, patches: Tensor) -> None:
    """Initialise ``network`` as a linear code of 4x4x4 blocks.

    - The last convolution of every residual block starts at zero: the block begins as its skip path.
    - The encoder is a filter bank whose latents are standardized inside the body.
    - Group norm would make HU depend on how much air surrounds the patient. With ``norm_eps`` well above the variance
      of the features (about 1) it is nearly a fixed scaling, which the norms' weights undo; each signal has a channel
      with its negative, too, so that the mean is 0.
    - The decoder begins as interpolation of the blocks' means; it has the latents, interpolated, to draw edges with.

    Args:
        network: one norm group, ``norm_eps`` 100, at most 10 latent channels, ``num_channels`` at least 8 and growing
            from level to level to more than twice the latent channels.
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
    """Set the encoder's plain convolutions to two levels of a transform like Haar's; few of its 64 numbers remain."""
    plain = into, first, widen, second, shortcut, out = _plain_convolutions(network.encoder)
    for conv in plain:
        conv.weight.zero_()
    into.weight[0, 0, 1, 1, 1] = 1.0
    kinds = list(product(_PAIR, repeat=3))
    for channel, kind in enumerate(kinds):
        first.weight[channel, 0] = _kernel([_PAIR[k] for k in kind])
        widen.weight[channel, channel] = 1.0
    for latent, orders in enumerate(_ORDERS[: network.latent_channels]):
        for channel, kind in enumerate(kinds):
            rows = [_ROW.get(key) for key in zip(orders, kind, strict=True)]
            if all(rows):
                second.weight[latent, channel] = _kernel(rows)
        shortcut.weight[latent, latent] = 1.0
        shortcut.weight[latent + network.latent_channels, latent] = -1.0
        out.weight[latent, latent, 1, 1, 1] = 1.0
    mu = network.quant_conv_mu.conv
    mu.weight.copy_(torch.eye(network.latent_channels).view(*mu.weight.shape))


def _kernel(rows: list[tuple[float, float]]) -> Tensor:
    """``[3, 3, 3]``: outer product of three rows; a convolution with stride 2 begins at the first of its voxels."""
    return torch.einsum("i,j,k->ijk", *(torch.tensor([*row, 0.0]) for row in rows))


def _pass_latents_through(network: Autoencoder) -> None:
    """The decoder's first channels hold latents on every level, and its second half negatives; the mean is put out."""
    *inner, last = _plain_convolutions(network.decoder)
    for conv in inner:
        half = conv.out_channels // 2
        held = min(network.latent_channels, half // 2)
        conv.weight[:held] = 0.0
        middle = conv.kernel_size[0] // 2
        for channel in range(held):
            conv.weight[channel, channel, middle, middle, middle] = 1.0
        conv.weight[half:] = -conv.weight[:half]
    last.weight.zero_()
    last.weight[0, 0, 1, 1, 1] = 1.0
    post = network.post_quant_conv.conv
    post.weight.copy_(torch.eye(network.latent_channels).view(*post.weight.shape))


def _plain_convolutions(half: nn.Module) -> list[nn.Conv3d]:
    """Those outside of residual blocks, and the skip paths of these, in order."""
    named = half.named_modules()
    return [m for name, m in named if isinstance(m, nn.Conv3d) and not any(part in name for part in _INSIDE_BLOCKS)]


def _standardize(network: Autoencoder, patches: Tensor) -> None:
    """Each latent channel gets mean 0 and standard deviation 1 where there is a body, in the 1x1x1 convolutions."""
    latents = torch.cat([network.encode(patch[None])[0] for patch in patches])
    inside = F.avg_pool3d((patches > 0).float(), COMPRESSION)[:, 0] > 0.5
    values = latents.movedim(1, 0)[:, inside]
    mean, std = values.mean(1), values.std(1)
    mu = network.quant_conv_mu.conv
    mu.weight /= std.view(-1, 1, 1, 1, 1)
    mu.bias.copy_((mu.bias - mean) / std)
    last = _plain_convolutions(network.decoder)[-1]
    last.weight *= std[0]
    last.bias.fill_(mean[0])
