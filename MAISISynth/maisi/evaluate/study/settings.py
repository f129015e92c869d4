"""What the downstream study does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS, find_label

ARMS = ("real", "real and synthetic")


@dataclass(frozen=True)
class StudySettings:
    """The choices of a study; they stand in its results, and a study goes on only with the same ones.

    Attributes:
        classes: MAISI ids to segment, each a class. folds: of the cross-validation over real cases.
        ratio: synthetic cases for each real one (the paper: 1). train_steps: of each training.
        spacing: mm of the grid that is segmented. patch: voxels along each axis, 32 or more, a multiple of 16.
        window: HU scaled to 0...1. batch: volumes a step, of two patches each. width: channels of the first level.
        learning_rate: at the start; it falls to 0 along a cosine. seed: of folds, weights and patches.

    Raises:
        InputError: a value cannot be used.
    """

    classes: tuple[int, ...]
    folds: int = 5
    ratio: float = 1.0
    train_steps: int = 2000
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0)
    patch: int = 64
    window: tuple[float, float] = (-200.0, 300.0)
    batch: int = 2
    width: int = 16
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise InputError("Give at least one class to segment, each only once.")
        if self.folds < 2:
            raise InputError(f"A cross-validation needs at least 2 folds, got {self.folds}.")
        for name, value in (("train steps", self.train_steps), ("batch", self.batch), ("width", self.width)):
            if value < 1:
                raise InputError(f"The {name} must be at least 1, got {value}.")
        if not 0 < self.ratio <= 100:
            raise InputError(
                f"The number of synthetic cases for each real one must be from 0 to 100, got {self.ratio:g}."
            )
        if self.patch < 32 or self.patch % 16:  # the network halves it four times, and its norms need two voxels
            raise InputError(f"The patch must be 32, 48, 64 ... voxels, got {self.patch}.")
        if len(self.spacing) != 3 or min(self.spacing) <= 0:
            raise InputError(f"The spacing must be three numbers greater than 0, got {self.spacing}.")
        if not self.window[0] < self.window[1]:
            raise InputError(f"The window must go from a lower to a higher HU, got {self.window}.")
        if self.learning_rate <= 0:
            raise InputError(f"The learning rate must be greater than 0, got {self.learning_rate:g}.")

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        return [LABELS[id_].name for id_ in self.classes]

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary, as it is read back from JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def read_classes(names: Sequence[str], present: Sequence[int]) -> tuple[int, ...]:
    """MAISI ids of ``names``; without any, the lesions among ``present``. Raises InputError: not known, or none."""
    found = {name: find_label(name) for name in names}
    unknown = [name for name, id_ in found.items() if id_ is None]
    if unknown:
        raise InputError(f"There is no class {unknown[0]!r}; give names such as liver or hepatic tumor.")
    ids = tuple(found.values()) or tuple(id_ for id_ in LESIONS if id_ in present)
    if not ids:
        raise InputError("The real cases have no lesions to segment; name the classes with --classes.")
    return ids
