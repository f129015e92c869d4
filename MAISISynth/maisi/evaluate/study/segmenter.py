"""A small segmentation network, trained and applied: MONAI's BasicUNet with Dice and cross-entropy loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.metrics import DiceMetric
from monai.networks.nets import BasicUNet
from monai.transforms import (
    Compose,
    Orientationd,
    RandCropByPosNegLabeld,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    ScaleIntensityRanged,
    Spacingd,
    SpatialPadd,
)
from monai.utils import set_determinism
from torch import Tensor, nn

from maisi.evaluate.study.cases import StudyCase
from maisi.evaluate.study.settings import StudySettings

Sample = dict[str, Tensor]  # "image" [1, I, J, K] in 0...1, "label" [1, I, J, K]: number of the class, 0 = none
_KEYS = ("image", "label")


def read_sample(case: StudyCase, settings: StudySettings) -> Sample:
    """A case on the study's grid: axes right, anterior, superior, padded to the size of a patch at least.

    Raises:
        InputError: it cannot be read.
    """
    image, labels = case.dataset.read_pair(case.scan)
    numbers = np.zeros(256, np.uint8)
    numbers[list(settings.classes)] = range(1, len(settings.classes) + 1)
    arrays = {"image": image.array.astype(np.float32), "label": numbers[labels.array]}
    sample = {k: MetaTensor(array[None], affine=torch.from_numpy(image.affine)) for k, array in arrays.items()}
    low, high = settings.window
    prepare = Compose(
        [
            Orientationd(_KEYS, axcodes="RAS", labels=None),
            Spacingd(_KEYS, pixdim=settings.spacing, mode=("bilinear", "nearest")),
            ScaleIntensityRanged("image", low, high, 0.0, 1.0, clip=True),
            SpatialPadd(_KEYS, spatial_size=(settings.patch,) * 3),
        ]
    )
    return {key: value.as_tensor() for key, value in prepare(sample).items()}


def train_segmenter(samples: Sequence[Sample], settings: StudySettings, device: torch.device) -> nn.Module:
    """A network trained on ``samples``; the same settings start from the same weights, whatever the samples."""
    set_determinism(settings.seed)
    network = _network(settings).to(device)
    loss_of = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.train_steps)
    network.train()
    for batch in _patches(samples, settings):
        loss = loss_of(network(batch["image"].to(device)), batch["label"].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    set_determinism(None)
    return network.eval()


@torch.inference_mode()
def dice_of(network: nn.Module, sample: Sample, settings: StudySettings) -> list[float | None]:
    """Dice of each class in a case; None where the case does not have the class."""
    device = next(network.parameters()).device
    inferer = SlidingWindowInferer((settings.patch,) * 3, sw_batch_size=4, overlap=0.25, mode="gaussian")
    scores = inferer(sample["image"][None].to(device), network).cpu()
    metric = DiceMetric(include_background=False, num_classes=len(settings.classes) + 1, ignore_empty=True)
    found = metric(scores.argmax(1, keepdim=True), sample["label"][None])[0]
    return [None if torch.isnan(value) else float(value) for value in found]


def _network(settings: StudySettings) -> nn.Module:
    levels = [settings.width * factor for factor in (1, 1, 2, 4, 8, 1)]
    return BasicUNet(spatial_dims=3, in_channels=1, out_channels=len(settings.classes) + 1, features=levels)


def _patches(samples: Sequence[Sample], settings: StudySettings) -> Iterator[Sample]:
    """``train_steps`` batches of random patches; half of the patches have a class in their middle."""
    crop = RandCropByPosNegLabeld(_KEYS, "label", (settings.patch,) * 3, pos=1, neg=1, num_samples=2)
    vary = [
        RandScaleIntensityd("image", 0.1, prob=0.5),
        RandShiftIntensityd("image", 0.05, prob=0.5),
        RandGaussianNoised("image", std=0.03, prob=0.3),
    ]
    dataset = CacheDataset(samples, Compose([crop, *vary]), cache_num=0, progress=False)
    batch = min(settings.batch, len(samples))
    done = 0
    while done < settings.train_steps:
        for loaded in DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True):
            yield loaded
            done += 1
            if done == settings.train_steps:
                return
