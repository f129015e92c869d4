"""Weights that the user already has, from a folder, a zip or single files: recognised by name, checked, copied."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from maisi.errors import InputError, WeightsError
from maisi.models import checksums, licenses
from maisi.models.checkpoint import check_fit, read_checkpoint
from maisi.models.folder import models_folder, replacing
from maisi.models.store import note_installed, weight_path
from maisi.models.variants import Variant, WeightFile, variants
from maisi.models.weights import expected_state

# Names under which configurations of older releases know the same files (FACTS 1.8).
OLD_NAMES = {
    "autoencoder_epoch273.pt": "autoencoder_v1.pt",
    "input_unet3d_data-all_steps1000size512ddpm_random_current_inputx_v1.pt": "diff_unet_3d_ddpm-ct.pt",
    "controlnet-20datasets-e20wl100fold0bc_noi_dia_fsize_current.pt": "controlnet_3d_ddpm-ct.pt",
}

_Open = Callable[[], AbstractContextManager[BinaryIO]]


def find_weights(source: Path) -> list[WeightFile]:
    """The weight files of known models that ``source``, a folder, a zip or one file, holds. Nothing is opened.

    Raises:
        InputError: it is missing, holds none of them, or one twice.
    """
    return [file for _, file, _, _ in _recognised(source)]


def import_weights(source: Path) -> list[Path]:
    """Copy the weight files of known models from ``source``, a folder, a zip or one file, into the models folder.

    Each is checked before it takes its place: SHA-256 where one was published, names and shapes of its tensors always.

    Returns:
        The files now in the models folder.

    Raises:
        InputError: as for :func:`find_weights`. WeightsError: the license of a file is not accepted; a file is damaged,
            another than the published one, or could run code.
    """
    found = _recognised(source)
    licenses.require(file.license for _, file, _, _ in found)
    return [_install(variant, file, f"{name} of {source}", opened) for variant, file, name, opened in found]


def _recognised(source: Path) -> list[tuple[Variant, WeightFile, str, _Open]]:
    """For each known file in ``source``: a model that uses it, its entry there, its name here, a way to open it."""
    known = {
        file.file: (variant, file) for variant in variants().values() for file in variant.weights if file.repository
    }
    found: dict[str, tuple[Variant, WeightFile, str, _Open]] = {}
    for name, opened in _entries(source):
        target = OLD_NAMES.get(name, name)
        if target in found:
            raise InputError(f"{source} holds {found[target][2]} and another {name}; give a folder with one of them.")
        if target in known:
            found[target] = *known[target], name, opened
    if not found:
        raise InputError(f"{source} holds no weight file of a known model; such files are: {', '.join(known)}.")
    return list(found.values())


def _entries(source: Path) -> Iterator[tuple[str, _Open]]:
    """Name without folders, and a way to open it, of every file in ``source``."""
    if source.is_dir():
        if source.resolve() == models_folder().resolve():
            raise InputError(f"{source} is the models folder itself; check its files with: maisi models verify.")
        yield from ((path.name, partial(path.open, "rb")) for path in sorted(source.rglob("*")) if path.is_file())
    elif source.suffix == ".zip" and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            # The folders inside the archive are not used: nothing can be written outside the models folder.
            for entry in archive.infolist():
                yield re.split(r"[\\/]", entry.filename)[-1], partial(_unpacked, source, entry)
    elif source.is_file():
        yield source.name, partial(source.open, "rb")
    else:
        raise InputError(f"{source} does not exist; give a folder, a zip or a weight file.")


@contextmanager
def _unpacked(source: Path, entry: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    with zipfile.ZipFile(source) as archive, archive.open(entry) as stream:
        yield stream


def _install(variant: Variant, file: WeightFile, told: str, opened: _Open) -> Path:
    target = weight_path(variant, file)
    with replacing(target) as part:
        try:
            with opened() as stream, part.open("wb") as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise WeightsError(f"{told} cannot be unpacked ({error}); pack or copy it again.") from error
        try:
            sha256 = checksums.check(part, file.sha256) or checksums.sha256_of(part)
            network = f"{file.role} of {variant.name}"
            check_fit(read_checkpoint(part).state, expected_state(variant, file.role), part, network)
        except WeightsError as error:
            raise WeightsError(str(error).replace(f"The weight file {part}", told).replace(str(part), told)) from error
    note_installed(variant, file, sha256)
    return target
