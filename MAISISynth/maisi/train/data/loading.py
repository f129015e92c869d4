"""Batches of a prepared data set for one process: :func:`batches` to train with, :func:`held_out` to validate with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from maisi.errors import InputError
from maisi.models.intensity import IntensityScale
from maisi.new_classes import NewClass, learn
from maisi.train.data.samples import Images, Labels, Latents, Paired, Pairs, Sample, Samples
from maisi.train.data.settings import DataConfig
from maisi.train.data.stream import Planned, Stream
from maisi.train.prepared import Item, read_classes, read_items
from maisi.train.stage import Batch

KINDS = {"image": Images, "latent": Latents, "paired": Paired, "labels": Labels}
_SKIPPED = "skipped"
_log = logging.getLogger(__name__)


def batches(
    config: DataConfig, kind: str, rank: int, world: int, seed: int, intensity: IntensityScale | None = None
) -> TrainingBatches:
    """The endless batches of process ``rank`` of ``world``.

    Args:
        kind: "image": ``image`` ``[B, 1, *patch]``, ``modality``. "latent": ``latent`` ``[B, 4, i, j, k]``, ``spacing``
            ``[B, 3]`` mm, ``modality`` ``[B]``, ``region`` ``[B, 2]``. "paired": these and ``labels``, ``healed`` uint8
            ``[B, 1, 4i, 4j, 4k]``; with ``config.pairs`` ``latent`` ``[B, 2, 4, i, j, k]`` and ``labels`` ``[B, 2, 1,
            4i, 4j, 4k]``, 0 without and 1 with lesions. "labels": ``labels``, ``spacing``. All have ``id``.
        seed: of order, crops, draws and augmentation. intensity: HU -> the network's range, for images.

    Raises:
        InputError: no prepared data set, or nothing in it that can be used for this.
    """
    items = _selected(config, kind, lambda item: item.fold != config.fold)
    samples = _samples(config, kind, items, True, intensity)
    return TrainingBatches(samples, rank, world, seed, read_classes(config.prepared))


def held_out(
    config: DataConfig, kind: str, rank: int, world: int, intensity: IntensityScale | None = None
) -> HeldOutBatches:
    """Batches of one item each of the held-out fold, always the same; this process's share. Empty without a fold.

    Raises:
        InputError: as :func:`batches`; an empty fold is no error.
    """
    items = [item for item in read_items(config.prepared) if config.fold is not None and item.fold == config.fold]
    items = _filtered(items, config, kind)
    if config.validation_items is not None and len(items) > config.validation_items:
        items = [items[len(items) * n // config.validation_items] for n in range(config.validation_items)]
    samples = _samples(config, kind, items, False, intensity)
    learn(read_classes(config.prepared))
    return HeldOutBatches(samples, rank, world)


def _samples(
    config: DataConfig, kind: str, items: Sequence[Item], training: bool, intensity: IntensityScale | None
) -> Samples:
    if kind == "image":
        return Images(config.prepared, items, config, training, intensity or IntensityScale())
    sort = Pairs if kind == "paired" and config.pairs else KINDS[kind]
    return sort(config.prepared, items, config, training)


def _selected(config: DataConfig, kind: str, wanted: Any) -> list[Item]:
    everything = read_items(config.prepared)
    known = {item.dataset for item in everything}
    for name in (*(config.datasets or ()), *config.weights):
        if name not in known:
            raise InputError(f"{config.prepared} has no source called {name!r}; it has {', '.join(sorted(known))}.")
    items = _filtered([item for item in everything if wanted(item)], config, kind)
    if not items or (kind == "paired" and config.pairs and not any(item.pair for item in items)):
        lacks = {KINDS[kind].usable(item, config) for item in everything} - {None}
        needs = "pairs without and with lesions" if not lacks else " and ".join(sorted(lacks))
        raise InputError(
            f"{config.prepared} has nothing to train with: of {len(everything)} items none is outside fold "
            f"{config.fold}, of the chosen sizes and sources, and has {needs}."
        )
    return items


def _filtered(items: Sequence[Item], config: DataConfig, kind: str) -> list[Item]:
    return [
        item
        for item in items
        if (config.datasets is None or item.dataset in config.datasets)
        and (config.sizes is None or item.shape in config.sizes)
        and (config.copies or not item.downsampled)
        and KINDS[kind].usable(item, config) is None
    ]


@dataclass
class _Reader(Dataset):
    """Batches that were planned -> tensors; in the processes that read ahead, if there are any."""

    samples: Samples
    seed: int

    def __getitem__(self, planned: Planned) -> Batch:
        loaded, skipped = [], {}
        for draw in planned.draws:
            _try(self.samples, draw.index, self._rng(planned.epoch, draw.index, draw.before), loaded, skipped)
        if not loaded:  # the other processes wait for a batch
            shape = planned.shape
            mates = [i for i, item in enumerate(self.samples.items) if tuple(self.samples.shape(item)) == shape]
            for index in self._rng(planned.epoch, planned.number, -1).permutation(mates):
                _try(self.samples, int(index), self._rng(planned.epoch, int(index), -2), loaded, skipped)
                if loaded:
                    break
        return {**_collated(loaded), _SKIPPED: skipped}

    def _rng(self, epoch: int, index: int, before: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, index, before + 2))


class TrainingBatches:
    """The stream of one process (see :mod:`maisi.train.data.stream`), as the loop wants it.

    A file that cannot be read is left out of its batch, told once in the log and counted in ``skipped``; where a batch
    has nothing else, another sample of its shape takes its place.

    Attributes:
        steps_per_epoch: batches of a process in one pass over the data, rounded up.
        skipped: a sentence for each item that could not be read so far, by id.
    """

    def __init__(self, samples: Samples, rank: int, world: int, seed: int, classes: Sequence[NewClass]) -> None:
        config, items = samples.config, samples.items
        weights = [config.weights.get(item.dataset, item.weight) for item in items]
        shapes = [samples.shape(item) for item in items]
        if not sum(weights) > 0:
            raise InputError(f"All sampling weights of {config.prepared} are 0; give one of its sources a weight.")
        self._stream = Stream(shapes, weights, config.batch_size, seed)
        self._reader = _Reader(samples, seed)
        self._rank, self._world, self._classes = rank, world, tuple(classes)
        self._position, self._steps = self._stream.start(world), 0
        self.steps_per_epoch = -(-self._stream.length() // world)
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[Batch]:
        """Goes on where the last one stopped."""
        learn(self._classes)
        position = self.state_dict()
        self._position, self._steps = position, 0
        config = self._reader.samples.config
        loader = DataLoader(
            self._reader,
            batch_size=None,
            sampler=_Endless(self._stream, position, self._rank, self._world),
            num_workers=config.workers,
            worker_init_fn=partial(_begin_worker, self._classes),
            generator=torch.Generator(),  # its own, so that the run's numbers stay as they are
        )
        for batch in loader:
            self._steps += 1
            self._tell(batch.pop(_SKIPPED))
            if not batch:
                raise InputError(f"None of the files of one size in {config.prepared} can be read; prepare it again.")
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch that was taken, the same on all processes."""
        return self._stream.after(self._position, self._steps, self._world)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position, which may come from another number of processes."""
        self._position, self._steps = dict(state), 0

    def _tell(self, skipped: dict[str, str]) -> None:
        for id_, sentence in skipped.items():
            if id_ not in self.skipped:
                self.skipped[id_] = sentence
                _log.warning("%s is left out: %s", id_, sentence)


@dataclass
class HeldOutBatches:
    """Batches of one sample each, always the same; those that cannot be read are not there.

    Attributes:
        samples: of the held-out items. rank, world: every ``world``-th sample is ours.
    """

    samples: Samples
    rank: int
    world: int

    def __len__(self) -> int:
        return len(range(self.rank, len(self.samples.items), self.world))

    def __iter__(self) -> Iterator[Batch]:
        for index in range(self.rank, len(self.samples.items), self.world):
            loaded: list[tuple[str, Sample]] = []
            _try(self.samples, index, np.random.default_rng(index), loaded, {})
            if loaded:
                yield _collated(loaded)


@dataclass
class _Endless:
    """The batches to be read, as a sampler."""

    stream: Stream
    position: dict[str, Any]
    rank: int
    world: int

    def __iter__(self) -> Iterator[Planned]:
        return self.stream.batches(self.position, self.rank, self.world)


def _try(
    samples: Samples,
    index: int,
    rng: np.random.Generator,
    loaded: list[tuple[str, Sample]],
    skipped: dict[str, str],
) -> None:
    item = samples.items[index]
    try:
        loaded.append((item.id, samples.load(item, rng)))
    except Exception as error:  # whatever a damaged file makes a reader say
        skipped[item.id] = f"{type(error).__name__}: {error}"


def _collated(loaded: Sequence[tuple[str, Sample]]) -> Batch:
    if not loaded:
        return {}
    ids, parts = zip(*loaded, strict=True)
    return {"id": list(ids), **{name: torch.stack([part[name] for part in parts]) for name in parts[0]}}


def _begin_worker(classes: Sequence[NewClass], _worker: int) -> None:
    torch.set_num_threads(1)
    learn(classes)
