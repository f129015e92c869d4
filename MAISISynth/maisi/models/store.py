"""The weight files of the models on this machine: which are there, are they intact, away with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maisi.errors import InputError, WeightsError
from maisi.models import checksums
from maisi.models.folder import models_folder
from maisi.models.variants import Variant, WeightFile, variants


@dataclass(frozen=True)
class Stored:
    """A variant as it stands on this machine.

    Attributes:
        missing: weight files that are not there. size: bytes of those that are (half-precision copies included).
    """

    variant: Variant
    missing: tuple[WeightFile, ...]
    size: int

    @property
    def installed(self) -> bool:
        """Whether the model can be used."""
        return not self.missing


def stored(variant: Variant) -> Stored:
    """What is there of ``variant``. Looks at names only; see :func:`verify`."""
    missing = tuple(file for file in variant.weights if not any(p.is_file() for p in _places(variant, file)))
    return Stored(variant, missing, sum(path.stat().st_size for path in present(variant)))


def listing() -> dict[str, Any]:
    """All models of this machine and the folder of their weights, as JSON that another machine can read.

    Raises:
        InputError: a model card cannot be read.
    """
    models = [
        {
            "name": found.variant.name,
            "title": found.variant.title,
            "image": found.variant.image,
            "license": found.variant.license,
            "files": len(found.variant.weights),
            "missing": len(found.missing),
            "size": found.size,
            "from_labels": "controlnet" in found.variant.networks,
            "downloadable": all(file.repository for file in found.variant.weights),
        }
        for found in map(stored, variants().values())
    ]
    return {"folder": str(models_folder()), "models": models}


def weight_path(variant: Variant, file: WeightFile) -> Path:
    """Where the file stands: what can be downloaded in the user's models folder, else beside the card."""
    return (models_folder() if file.repository else variant.folder) / file.file


def half_path(variant: Variant, file: WeightFile) -> Path:
    """Where its half-precision copy stands (see :mod:`maisi.models.half`)."""
    return weight_path(variant, file).with_suffix(".half.safetensors")


def present(variant: Variant) -> list[Path]:
    """The files of ``variant`` that are there, half-precision copies included."""
    return [path for file in variant.weights for path in _places(variant, file) if path.is_file()]


def is_intact(variant: Variant, file: WeightFile) -> bool:
    """Whether the file, or at least its half-precision copy, is there and unaltered."""
    original, copy = _places(variant, file)
    try:
        checksums.check(*((original, file.sha256) if original.is_file() else (copy, None)))
    except WeightsError:
        return False
    return True


def note_installed(variant: Variant, file: WeightFile, sha256: str) -> None:
    """Remember a file that was just put in its place; the half-precision copy of its predecessor goes."""
    original, copy = _places(variant, file)
    delete(copy)
    checksums.record(original, sha256)


def verify(variant: Variant) -> Iterator[tuple[Path, str | None]]:
    """Read every file of ``variant`` and compare its SHA-256 with the published one, or with that at its installation.

    Yields:
        The file, and its SHA-256 or None where nothing is known to compare it with.

    Raises:
        WeightsError: a file is missing or altered.
    """
    missing = stored(variant).missing
    if missing:
        names = ", ".join(file.file for file in missing)
        raise WeightsError(f"{names} of {variant.name} missing; get it with: maisi models download {variant.name}.")
    for file in variant.weights:
        original, copy = _places(variant, file)
        if original.is_file():
            yield original, checksums.check(original, file.sha256, again=True)
        if copy.is_file():
            yield copy, checksums.check(copy, None, again=True)


def remove(variant: Variant) -> list[Path]:
    """Delete the downloaded files of ``variant``, except those that another installed model needs.

    Returns:
        What was deleted.

    Raises:
        InputError: the model was not downloaded. WeightsError: a file cannot be deleted.
    """
    if not all(file.repository for file in variant.weights):
        raise InputError(f"The model {variant.name} was not downloaded; delete its card and weights yourself.")
    others = (other for other in variants().values() if other.name != variant.name and stored(other).installed)
    needed = {path for other in others for path in present(other)}
    gone = [path for path in present(variant) if path not in needed]
    for path in gone:
        delete(path)
    return gone


def delete(path: Path) -> None:
    """Delete a weight file, if it is there, and what is known about it. Raises WeightsError where that is refused."""
    if path.is_file():
        try:
            path.unlink()
        except OSError as error:  # Windows keeps files that a running program has mapped
            raise WeightsError(f"{path} could not be deleted ({error.strerror}); close what uses it.") from error
        checksums.forget(path)


def _places(variant: Variant, file: WeightFile) -> tuple[Path, Path]:
    return weight_path(variant, file), half_path(variant, file)
