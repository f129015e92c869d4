"""One sample of each kind of training, read from a prepared folder. All randomness comes from the given generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from maisi.labels import LESIONS, remove_lesions
from maisi.masks.augment import augment_tumors
from maisi.models.intensity import IntensityScale
from maisi.models.networks import COMPRESSION
from maisi.options import REGIONS
from maisi.train.data.patches import Patches
from maisi.train.data.settings import DataConfig
from maisi.train.prepared import Item, read_items
from maisi.volume import LabelVolume

Sample = dict[str, Tensor]
WHOLE_BODY = (0, len(REGIONS) - 1)  # where a label map shows no marker organ


class Samples(ABC):
    """The samples of one kind: ``load`` them, and know their ``shape`` in image voxels before.

    Args:
        folder: prepared data set. items: those that have what this kind needs (see ``usable``).
        training: random crops, draws and augmentation; else the same sample each time.
    """

    def __init__(self, folder: Path, items: Sequence[Item], config: DataConfig, training: bool) -> None:
        self.folder, self.items, self.config, self.training = folder, items, config, training

    @staticmethod
    @abstractmethod
    def usable(item: Item, config: DataConfig) -> str | None:
        """What ``item`` lacks for this kind, or None."""

    def shape(self, item: Item) -> tuple[int, ...]:
        """Voxels of the sample along I, J, K: the bucket it belongs to."""
        if self.config.crop is None:
            return item.shape
        return tuple(min(n, COMPRESSION * c) for n, c in zip(item.shape, self.config.crop, strict=True))

    @abstractmethod
    def load(self, item: Item, rng: np.random.Generator) -> Sample:
        """The sample without its batch axis. Raises OSError, ValueError, KeyError or others for a broken file."""

    def _crop(self, item: Item, rng: np.random.Generator, lesions: np.ndarray | None = None) -> tuple[slice, ...]:
        """A box of latent voxels; often with one of ``lesions`` (bool ``[I, J, K]``) in it."""
        shape = np.array(item.shape) // COMPRESSION
        size = np.array(self.shape(item)) // COMPRESSION
        corner = rng.integers(shape - size + 1)
        if lesions is not None and rng.random() < self.config.lesion_crop:
            hits = np.flatnonzero(lesions)
            if len(hits):
                hit = np.array(np.unravel_index(hits[rng.integers(len(hits))], lesions.shape)) // COMPRESSION
                corner = (hit - rng.integers(size)).clip(0, shape - size)
        return tuple(slice(int(low), int(low + n)) for low, n in zip(corner, size, strict=True))


class Latents(Samples):
    """``latent`` float32 ``[4, i, j, k]``, ``spacing`` ``[3]`` mm, ``modality``, ``region`` ``[2]`` (top, bottom)."""

    @staticmethod
    def usable(item: Item, config: DataConfig) -> str | None:
        """What it lacks, or None."""
        return None if item.latent else "latents (maisi prepare --model NAME)"

    def load(self, item: Item, rng: np.random.Generator) -> Sample:
        """One latent."""
        crop = self._crop(item, rng)
        noise = self._noise(crop, rng)
        return {"latent": self._latent(item, crop, noise), **_conditions(item)}

    def _noise(self, crop: tuple[slice, ...], rng: np.random.Generator) -> Tensor | None:
        if not (self.training and self.config.sample_latents):
            return None
        size = [s.stop - s.start for s in crop]
        return torch.from_numpy(rng.standard_normal((4, *size), dtype=np.float32))

    def _latent(self, item: Item, crop: tuple[slice, ...], noise: Tensor | None) -> Tensor:
        """A draw (FACTS 5.1 stores one for good; here it is drawn each time), or the mean."""
        stored = load_file(self.folder / item.latent)
        if tuple(stored["mean"].shape[1:]) != tuple(n // COMPRESSION for n in item.shape):
            raise ValueError(f"its latents have the shape {tuple(stored['mean'].shape)}, its image {item.shape}")
        mean = stored["mean"][(slice(None), *crop)].float()
        return mean if noise is None else mean + noise * stored["sigma"][(slice(None), *crop)].float()


class Paired(Latents):
    """The same with ``labels`` uint8 ``[1, I, J, K]`` and ``healed``, which is labels without their lesions."""

    @staticmethod
    def usable(item: Item, config: DataConfig) -> str | None:
        """What it lacks, or None."""
        return Latents.usable(item, config) or (None if item.label else "label maps")

    def load(self, item: Item, rng: np.random.Generator) -> Sample:
        """One latent with its label map."""
        labels = read_labels(self.folder, item)
        crop = self._crop(item, rng, np.isin(labels, LESIONS))
        part = labels[_of_image(crop)]
        return {
            "latent": self._latent(item, crop, self._noise(crop, rng)),
            "labels": torch.from_numpy(part[None].copy()),
            "healed": torch.from_numpy(remove_lesions(part)[None]),
            **_conditions(item),
        }


class Pairs(Paired):
    """``latent`` ``[2, 4, i, j, k]``, ``labels`` ``[2, 1, I, J, K]`` of one image, 0 without and 1 with lesions.

    Both latents are drawn with the same noise, so that they differ by their lesions alone.
    """

    def __init__(self, folder: Path, items: Sequence[Item], config: DataConfig, training: bool) -> None:
        # The same image without lesions may belong to many, and so to another fold than some of them.
        self._healthy = {item.id: item for item in read_items(folder) if self.usable(item, config) is None}
        super().__init__(folder, [item for item in items if item.pair in self._healthy], config, training)

    @staticmethod
    def usable(item: Item, config: DataConfig) -> str | None:
        """What it lacks, or None."""
        return Paired.usable(item, config)

    def load(self, item: Item, rng: np.random.Generator) -> Sample:
        """Two latents with their label maps."""
        both = (self._healthy[item.pair], item)
        maps = [read_labels(self.folder, one) for one in both]
        crop = self._crop(item, rng, maps[0] != maps[1])
        noise = self._noise(crop, rng)
        return {
            "latent": torch.stack([self._latent(one, crop, noise) for one in both]),
            "labels": torch.from_numpy(np.stack([labels[_of_image(crop)] for labels in maps])[:, None]),
            **_conditions(item),
        }


class Labels(Samples):
    """``labels`` uint8 ``[1, I, J, K]``, ``spacing`` ``[3]`` mm: for the mask generator, with no image beside them."""

    @staticmethod
    def usable(item: Item, config: DataConfig) -> str | None:
        """What it lacks, or None."""
        return None if item.label else "label maps"

    def load(self, item: Item, rng: np.random.Generator) -> Sample:
        """One label map; with ``augment_tumors`` each of its tumors is changed, which no image would follow."""
        labels = read_labels(self.folder, item)
        if self.training and self.config.augment_tumors:
            labels = augment_tumors(LabelVolume(labels, np.diag([*item.spacing, 1.0])), rng).array
        part = labels[_of_image(self._crop(item, rng, np.isin(labels, LESIONS)))]
        return {"labels": torch.from_numpy(part[None].copy()), "spacing": torch.tensor(item.spacing)}


class Images(Samples):
    """``image`` float32 ``[1, *patch]`` in the network's range, ``modality``."""

    def __init__(
        self, folder: Path, items: Sequence[Item], config: DataConfig, training: bool, intensity: IntensityScale
    ) -> None:
        super().__init__(folder, items, config, training)
        self._patches = Patches(config, intensity, training)

    @staticmethod
    def usable(item: Item, config: DataConfig) -> str | None:
        """What it lacks, or None."""
        return None if item.image else "images"

    def shape(self, item: Item) -> tuple[int, ...]:
        """All patches have one shape."""
        return self.config.patch

    def load(self, item: Item, rng: np.random.Generator) -> Sample:
        """One patch."""
        image = np.load(self.folder / item.image, mmap_mode="r", allow_pickle=False)
        if image.shape != item.shape:
            raise ValueError(f"its file holds {image.shape} voxels, not {item.shape}")
        patch = self._patches.take(image, item.modality, item.spacing, rng)
        return {"image": patch, "modality": torch.tensor(item.modality)}


def read_labels(folder: Path, item: Item) -> np.ndarray:
    """uint8 ``[I, J, K]``."""
    with np.load(folder / item.label, allow_pickle=False) as packed:
        labels = packed["labels"]
    if labels.shape != item.shape or labels.dtype != np.uint8:
        raise ValueError(f"its label map holds {labels.shape} voxels of {labels.dtype}, not {item.shape} of uint8")
    return labels


def _of_image(crop: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(COMPRESSION * s.start, COMPRESSION * s.stop) for s in crop)


def _conditions(item: Item) -> Sample:
    return {
        "spacing": torch.tensor(item.spacing, dtype=torch.float32),
        "modality": torch.tensor(item.modality),
        "region": torch.tensor(item.region or WHOLE_BODY),
    }
