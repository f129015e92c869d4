"""The 2.5D perceptual loss: how different slices in three planes look to a pretrained 2D network (FACTS 5.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maisi.errors import InputError
from maisi.models.features import load_features, perceptual_distance

_OF_MONAI = ("squeeze", "alex", "vgg", "radimagenet_resnet50", "resnet50")


class PerceptualLoss(nn.Module):
    """Sum over the three planes of the mean distance of slices drawn at random.

    Args:
        network: "efficientnet-lite0" (no download), the file of a network (see :func:`maisi.models.features
            .load_features`), or one of MONAI's: "squeeze" (paper and released code), "alex", "vgg", "resnet50",
            "radimagenet_resnet50". MONAI downloads those, and the first three need the package lpips.
        share: part of the slices of each plane that is looked at, at least one.

    Raises:
        InputError: the network is not there.
    """

    def __init__(self, network: str = "efficientnet-lite0", share: float = 0.2) -> None:
        super().__init__()
        self._share = share
        self._distance: nn.Module = _monai_distance(network) if network in _OF_MONAI else _OwnDistance(network)
        self.requires_grad_(False).eval()

    def forward(self, output: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of images ``[B, 1, I, J, K]`` in 0...1, computed in float32; ``generator`` (CPU) chooses the slices."""
        with torch.autocast(output.device.type, enabled=False):
            planes = [self._plane(output.float(), target.float(), axis, generator) for axis in (2, 3, 4)]
        return torch.stack(planes).sum()

    def _plane(self, output: Tensor, target: Tensor, axis: int, generator: torch.Generator) -> Tensor:
        count = len(output) * output.shape[axis]
        chosen = torch.randperm(count, generator=generator)[: max(1, int(self._share * count))].to(output.device)
        slices = (x.movedim(axis, 1).flatten(0, 1)[chosen] for x in (output, target))
        return self._distance(*slices).mean()


class _OwnDistance(nn.Module):
    def __init__(self, network: str) -> None:
        super().__init__()
        self._features = load_features(network)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return perceptual_distance(self._features, a, b)


def _monai_distance(network: str) -> nn.Module:
    from monai.losses import PerceptualLoss as MonaiPerceptualLoss

    try:
        return MonaiPerceptualLoss(3, network, is_fake_3d=True).perceptual_function
    except Exception as error:  # no package, no network, no space: whatever a download can meet
        raise InputError(
            f"The perceptual network {network!r} could not be loaded ({error}); install lpips, allow the download, "
            "or use efficientnet-lite0."
        ) from error
