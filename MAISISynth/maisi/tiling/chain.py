"""A convolutional network as a chain of layers with known geometry: what exact tiles are computed from.

All positions along an axis are told on the coarsest grid of the chain (the latents'); a tensor in the chain has
``scale`` times as many voxels along each axis. Networks here have the same kernel along all three axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import (
    AutoencoderKlMaisi,
    MaisiResBlock,
    MaisiUpsample,
)
from torch import Tensor, nn

from maisi.models.norms import normalized

Interval = tuple[int, int]  # first voxel, one past the last


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution with what stands around it: ``[norm [SiLU]] module [+ shortcut]``.

    Attributes:
        module: a convolution (perhaps with its activation), or MONAI's up- or downsampling with its convolution.
        norm: before it. activated: whether SiLU follows the norm.
        opens: its input is also what the residual block adds at its end. shortcut: the way there; it closes the block.
    """

    module: nn.Module
    norm: nn.GroupNorm | None = None
    activated: bool = False
    opens: bool = False
    shortcut: nn.Module | None = None

    @cached_property
    def conv(self) -> nn.Conv3d:
        """The convolution in ``module``."""
        return next(m for m in self.module.modules() if isinstance(m, nn.Conv3d))

    @property
    def factor(self) -> Fraction:
        """Voxels out per voxel in, along an axis."""
        return Fraction(2 if isinstance(self.module, MaisiUpsample) else 1, self.conv.stride[0])

    def needs(self, low: int, high: int) -> Interval:
        """The interval of the input that the interval of the output depends on, not yet cut at the volume's ends."""
        kernel, stride, padding = self.conv.kernel_size[0], self.conv.stride[0], self.conv.padding[0]
        low, high = low * stride - padding, (high - 1) * stride - padding + kernel
        if isinstance(self.module, MaisiUpsample):  # trilinear: each voxel lies between two
            return (low - 1) // 2, high // 2 + 1
        return low, high

    def __call__(self, x: Tensor, carried: Tensor | None, statistics: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Run on ``x``; ``carried`` is the input of the residual block that is open, if any."""
        if self.opens:
            carried = x
        if self.norm is not None:
            x = normalized(x, self.norm, statistics)
            if self.activated:
                x = F.silu(x, inplace=True)
        x = self.module(x)
        if self.shortcut is not None:
            x, carried = x.add_(self.shortcut(carried)), None
        return x, carried


class Chain:
    """Layers that run one after another.

    Attributes:
        layers: the layers. scales: of the tensor before each layer, and of the last output.
        channels: likewise.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Take apart convolutions, MONAI's MAISI blocks, and group norms, each of which another module follows."""
        layers: list[Layer] = []
        norm = None
        for module in modules:
            if isinstance(module, nn.GroupNorm):
                norm = module
            elif isinstance(module, MaisiResBlock):
                layers.append(Layer(module.conv1, module.norm1, activated=True, opens=True))
                layers.append(Layer(module.conv2, module.norm2, activated=True, shortcut=module.nin_shortcut))
            else:
                layers.append(Layer(module, norm))
                norm = None
        self.layers = tuple(layers)
        factors = list(accumulate((layer.factor for layer in layers), lambda a, b: a * b, initial=Fraction(1)))
        self.scales = tuple(int(factor / min(factors)) for factor in factors)
        self.channels = (layers[0].conv.in_channels, *(layer.conv.out_channels for layer in layers))

    def crop(self, first: int, last: int, core: Interval, size: int) -> Interval:
        """The interval before layer ``first`` from which ``core`` before layer ``last`` can be computed exactly.

        Args:
            core, size: of the volume along this axis, on the coarsest grid.

        Returns:
            Voxels of the tensor before ``first``. Where ``core`` reaches the end of the volume so does this, so that
            padding is what it is in the whole; it starts where the strides of the whole start.
        """
        low, high = (end * self.scales[last] for end in core)
        for k in reversed(range(first, last)):
            low, high = self.layers[k].needs(low, high)
            low, high = max(low, 0), min(high, size * self.scales[k])
        step = max(1, self.scales[first] // min(self.scales[first : last + 1]))
        return low // step * step, high

    def place(self, first: int, at: int, start: int) -> int:
        """Where a crop that starts at ``start`` before layer ``first`` starts before layer ``at``."""
        return start * self.scales[at] // self.scales[first]


def decoder_chain(autoencoder: AutoencoderKlMaisi) -> Chain:
    """``autoencoder.decode`` as a chain."""
    return Chain([autoencoder.post_quant_conv, *autoencoder.decoder.blocks])


def encoder_chain(autoencoder: AutoencoderKlMaisi, last: nn.Module | None = None) -> Chain:
    """The mean that ``autoencoder.encode`` returns, or what the convolution ``last`` makes in its place, as a chain."""
    return Chain([*autoencoder.encoder.blocks, last or autoencoder.quant_conv_mu])


def embedding_chain(embedding: nn.Module) -> Chain:
    """The ControlNet's conditioning embedding (``ControlNetConditioningEmbedding``) as a chain."""
    return Chain([embedding.conv_in, *embedding.blocks, embedding.conv_out])
