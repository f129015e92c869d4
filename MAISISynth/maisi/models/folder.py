"""The user's models folder: where it is, how files get into it, and the small records that it keeps about them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maisi.errors import WeightsError


def models_folder() -> Path:
    """``MAISI_MODELS``, or ``.maisi/models`` in the home folder. It need not exist yet.

    Downloaded weights stand in it, and the cards of the user's own models with their weights.
    """
    chosen = os.environ.get("MAISI_MODELS")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".maisi" / "models"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, on the same disk; the file becomes ``path`` at the end, or vanishes if something fails.

    Raises:
        WeightsError: the folder is not writable, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".maisi-") as folder:
            part = Path(folder) / path.name
            yield part
            os.replace(part, path)
    except OSError as error:
        raise WeightsError(
            f"{path} could not be written ({error.strerror or error}); make room there or choose another models "
            "folder with the environment variable MAISI_MODELS."
        ) from error


def read_record(name: str) -> dict[str, Any]:
    """The record ``name`` of the models folder; empty if there is none, or if it is damaged (it can be made again)."""
    try:
        return json.loads(_record(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_record(name: str, entries: dict[str, Any]) -> None:
    """Replace the record ``name``. Raises WeightsError where the folder cannot be written."""
    with replacing(_record(name)) as part:
        part.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _record(name: str) -> Path:
    return models_folder() / ".state" / name  # a folder of their own, since *.json in the models folder are cards
