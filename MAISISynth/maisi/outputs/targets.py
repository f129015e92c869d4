"""Where a result goes: a volume file, or a folder with a DICOM series; and the names that belong to it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maisi.errors import InputError
from maisi.files import WRITABLE, check_writable, whole_file, write_volume
from maisi.outputs.origin import Origin
from maisi.outputs.record import is_record
from maisi.volume import ImageVolume, LabelVolume, Volume


@dataclass(frozen=True)
class Output:
    """One place for one image. ``dicom``: ``path`` is a folder for a series (see :mod:`maisi.outputs.dicom`)."""

    path: Path
    dicom: bool = False

    @classmethod
    def named(cls, text: str, dicom: bool = False) -> Output:
        """A folder for DICOM where that is asked for, or where the name ends in a slash; else a file.

        Raises:
            InputError: ``text`` is no name of its own, such as "." or "/".
        """
        path = Path(text)
        if path.name in ("", ".."):
            raise InputError(f"{text!r} is no name for a result; give the name of a file or of a new folder.")
        return cls(path, dicom or text.endswith(("/", os.sep)))

    @property
    def record(self) -> Path:
        """Where the request stands: ``CT.json`` for ``CT.nii.gz`` and beside the folder ``CT``."""
        return self.path.with_name(f"{self.path.name if self.dicom else _parts(self.path)[0]}.json")

    def numbered(self, seed: int) -> Output:
        """The same with the seed in its name: ``CT_seed7.nii.gz``."""
        return replace(
            self, path=self.path.with_name(f"{self.path.name}_seed{seed}") if self.dicom else numbered(self.path, seed)
        )

    def check(self, inputs: Iterable[Path], grid: Volume, labels: LabelVolume | None) -> None:
        """Refuse before the work starts, not after.

        Args:
            inputs: files that must not be overwritten. grid: of the result. labels: that go with it, if any.

        Raises:
            InputError: the image cannot be written there.
        """
        if self.dicom:
            from maisi.outputs.dicom import check_folder, right_handed
            from maisi.outputs.dicom_segmentation import segment_ids

            if self.path.name.lower().endswith(WRITABLE):
                raise InputError(f"{self.path} is the name of a file; a DICOM series needs the name of a folder.")
            check_folder(self.path)
            right_handed(grid)
            if labels is not None:
                segment_ids(labels.array)
        else:
            check_writable(self.path)
        check_no_input(self.path, inputs)
        if self.record.exists() and not is_record(self.record):
            raise InputError(f"{self.record} is a file of another kind; choose another name for the result.")

    def write(self, image: ImageVolume, origin: Origin, labels: LabelVolume | None) -> None:
        """Write ``image``; in DICOM also ``labels``. Raises InputError when that cannot be done."""
        if self.dicom:
            from maisi.outputs.dicom import write_series

            write_series(self.path, image, origin, labels)
        else:
            write_volume(self.path, image, origin.description)


def numbered(path: Path, seed: int) -> Path:
    """``CT.nii.gz`` -> ``CT_seed7.nii.gz``."""
    stem, ending = _parts(path)
    return path.with_name(f"{stem}_seed{seed}{ending}")


def check_no_input(path: Path, inputs: Iterable[Path]) -> None:
    """Raise InputError when ``path`` is one of ``inputs``."""
    if any(path.exists() and given.exists() and path.samefile(given) for given in inputs):
        raise InputError(f"{path} is one of the inputs; choose another name for the result.")


def check_array_file(path: Path, inputs: Iterable[Path]) -> None:
    """Raise InputError unless :func:`write_array` can write there, or when ``path`` is one of ``inputs``."""
    check_no_input(path, inputs)
    if path.suffix != ".npy":
        raise InputError(f"{path} must end in .npy.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it or choose another.")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file, whole or not at all. Raises InputError when that cannot be done."""
    with whole_file(path) as part:
        np.save(part, array, allow_pickle=False)


def _parts(path: Path) -> tuple[str, str]:
    """Name without ending, and the ending: "CT", ".nii.gz"."""
    ending = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix
    return path.name[: len(path.name) - len(ending)], path.name[len(path.name) - len(ending) :]
