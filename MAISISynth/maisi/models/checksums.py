"""SHA-256 of weight files, remembered for the models folder, so that a large file is not read twice at every start."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from maisi.errors import WeightsError
from maisi.models.folder import models_folder, read_record, write_record

RECORD = "checksums.json"  # file name -> sha256 as installed, and size and time of the file that was found to have it


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def record(path: Path, sha256: str) -> None:
    """Remember that ``path``, a file of the models folder, was installed with ``sha256`` and has it now."""
    write_record(RECORD, read_record(RECORD) | {path.name: {"sha256": sha256, **_stamp(path)}})


def forget(path: Path) -> None:
    """Remember nothing about ``path`` any more."""
    write_record(RECORD, {name: entry for name, entry in read_record(RECORD).items() if name != path.name})


def check(path: Path, published: str | None, again: bool = False) -> str | None:
    """Make sure that a file is what it should be: the published one, else what was installed.

    A file of the models folder is read once; then its size and time tell that it is unchanged, unless ``again``.
    Files elsewhere (those that ship) are read always.

    Returns:
        Its SHA-256, or None where nobody knows what it should be.

    Raises:
        WeightsError: it is missing, or another file.
    """
    if not path.is_file():
        raise WeightsError(f"The weight file {path} is missing; get it again.")
    inside = path.parent == models_folder()
    entry = read_record(RECORD).get(path.name) if inside else None
    expected = published or (entry and entry["sha256"])
    if expected is None:
        return None
    if not again and entry == {"sha256": expected, **_stamp(path)}:
        return expected
    found = sha256_of(path)
    if found != expected:
        if entry:  # what it should be stays known, that it once was so is forgotten
            write_record(RECORD, read_record(RECORD) | {path.name: {"sha256": entry["sha256"]}})
        known = "the published one" if published else "as installed"
        raise WeightsError(
            f"The weight file {path} is not {known} (SHA-256 {found[:9]}... for {expected[:9]}...); get it again."
        )
    if inside:
        with suppress(WeightsError):  # a models folder that is read-only works, it is only slower
            record(path, found)
    return found


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
