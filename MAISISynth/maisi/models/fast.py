"""The same networks with less work: equal state dicts, equal numbers within float error (see each part).

Modules change their class in place, so weights, names and everything that walks over the modules stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiGroupNorm3D, MaisiResBlock
from monai.networks.blocks.activation import Swish
from monai.networks.blocks.selfattention import SABlock
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, WrappedUpsample
from torch import Tensor, nn

from maisi.models.norms import ChannelsLastGroupNorm

CHANNELS_LAST = torch.channels_last_3d
LARGE_WEIGHTS = 2**20


def use_native_kernels(network: nn.Module) -> None:
    """Torch's group norm in place of MONAI's loop over groups (3e-6), its SiLU in place of two products (1e-7).

    Also fit for training.
    """
    for module in network.modules():
        if isinstance(module, MaisiGroupNorm3D):
            module.__class__ = _GroupNorm
        elif isinstance(module, Swish) and module.alpha == 1:
            module.__class__ = _Silu


def accelerate(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Prepare ``network``, already on its device, for inference in ``dtype``; it can no longer be trained.

    - native group norm (on the CPU: our own, which is more exact) and SiLU, activations in place;
    - attention through ``scaled_dot_product_attention`` (5e-7);
    - nearest upsampling and the 3x3x3 convolution after it as one transposed convolution with 8 instead of 27 taps per
      output voxel (1e-6);
    - channels-last memory; on CPUs convolutions by oneDNN, with large weights packed once (1e-5).

    Returns:
        ``network`` itself.
    """
    use_native_kernels(network)
    network.to(dtype=dtype, memory_format=CHANNELS_LAST)
    for module in list(network.modules()):
        if isinstance(module, SABlock):
            module.use_flash_attention = True
        elif isinstance(module, MaisiResBlock):
            module.__class__ = _VaeBlock
        elif isinstance(module, DiffusionUNetResnetBlock):
            module.__class__ = _DiffusionBlock
            if module.up:
                module.conv1.conv.__class__ = _UpConv3d
                module.conv1.conv.merge_taps()
        elif isinstance(module, nn.AvgPool3d):
            module.__class__ = _AvgPool3d
        elif isinstance(module, WrappedUpsample) and hasattr(module, "postconv"):
            module.__class__ = _Upsample
            module.postconv.conv.__class__ = _UpConv3d
            module.postconv.conv.merge_taps()
    on_cpu = next(network.parameters()).device.type == "cpu"
    for module in network.modules():
        if on_cpu and isinstance(module, nn.GroupNorm):
            module.__class__ = ChannelsLastGroupNorm
        elif type(module) is nn.Conv3d:
            _use_onednn(module)
    return network


def compile_network(network: nn.Module, backend: str | Callable = "inductor") -> None:
    """Let torch.compile make the kernels, at the first call; what it cannot compile runs as it is (1e-5).

    The setting that makes it fall back is torch's own and holds for the whole process.
    """
    torch._dynamo.config.suppress_errors = True
    network.compile(backend=backend)


class _GroupNorm(MaisiGroupNorm3D):
    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class _Silu(Swish):
    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input)


class _VaeBlock(MaisiResBlock):
    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x), inplace=True))
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        return h.add_(x if self.in_channels == self.out_channels else self.nin_shortcut(x))


class _DiffusionBlock(DiffusionUNetResnetBlock):
    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = F.silu(self.norm1(x), inplace=True)
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")  # of h, conv1 does it
        elif self.downsample is not None:
            x, h = self.downsample(x), self.downsample(h)
        h = self.conv1(h)
        h.add_(self.time_emb_proj(F.silu(emb))[:, :, None, None, None])
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        return h.add_(self.skip_connection(x))


class _Upsample(WrappedUpsample):
    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        return self.postconv(x)


class _AvgPool3d(nn.AvgPool3d):
    """Also for half precisions on the CPU, where torch has none."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float()).to(input.dtype) if input.device.type == "cpu" else super().forward(input)


class _UpConv3d(nn.Conv3d):
    """Nearest upsampling by 2 followed by a 3x3x3 convolution, as a 4x4x4 transposed convolution of stride 2.

    Along one axis the taps (a, b, c) act on a doubled signal as (c, b + c, a + b, a) on the signal itself.
    """

    def merge_taps(self) -> None:
        merge = torch.tensor(
            [[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float64, device=self.weight.device
        )
        taps = torch.einsum("oixyz,ax,by,cz->ioabc", self.weight.double(), merge, merge, merge)
        self.weight = nn.Parameter(taps.to(self.weight.dtype, memory_format=CHANNELS_LAST), requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv_transpose3d(input, self.weight, self.bias, stride=2, padding=1)


class _OneDnnConv3d(nn.Conv3d):
    """A convolution by oneDNN; torch itself sends small inputs to a kernel that is up to five times slower."""

    def forward(self, input: Tensor) -> Tensor:
        input = input.contiguous(memory_format=CHANNELS_LAST)  # pieces of a volume come with gaps
        return torch.mkldnn_convolution(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class _PackedConv3d(nn.Conv3d):
    """The same with weights in oneDNN's own order, into which they are brought at every call otherwise."""

    def pack(self) -> None:
        packed = torch._C._nn.mkldnn_reorder_conv3d_weight(
            self.weight.detach().to_mkldnn(), self.padding, self.stride, self.dilation, self.groups
        )
        del self.weight  # a packed tensor cannot be a parameter; keeping both would double the memory
        self.weight = packed

    def forward(self, input: Tensor) -> Tensor:
        input = input.contiguous(memory_format=CHANNELS_LAST)
        return torch.ops.mkldnn._convolution_pointwise(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups, "none", [], ""
        )


def _use_onednn(conv: nn.Conv3d) -> None:
    if conv.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return
    half = conv.weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if conv.weight.dtype != torch.float32 and not half:
        return
    # Small weights are brought into order quickly, and with 96 or 192 channels the packed order is the wrong one.
    if conv.weight.numel() >= LARGE_WEIGHTS and conv.out_channels % 64 == 0:
        conv.__class__ = _PackedConv3d
        conv.pack()
    else:
        conv.__class__ = _OneDnnConv3d
