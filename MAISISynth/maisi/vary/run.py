"""Making a series: join its folder, make the cases that are missing, write the data set."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import maisi
from maisi.errors import Cancelled, MaisiError, WeightsError
from maisi.files import read_image, write_json, write_volume
from maisi.outputs.origin import Origin
from maisi.request import array_sha256
from maisi.vary.dataset import renumber, write_dataset
from maisi.vary.folder import SeriesFolder
from maisi.vary.opening import Series
from maisi.vary.render import Rendered, Renderer
from maisi.vary.series import Item
from maisi.volume import ImageVolume

Progress = Callable[[str, int, int], None]


def make_share(
    series: Series,
    rank: int = 0,
    world: int = 1,
    progress: Progress = lambda stage, step, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Make the cases that are missing, of those that fall to process ``rank`` of ``world``.

    A case that fails is recorded with its sentence, and the rest goes on.

    Raises:
        Cancelled: on request. WeightsError: no case can be made. InputError: the folder cannot be written.
    """
    folder = series.folder
    folder.parts.mkdir(exist_ok=True)
    share = share_of(series.items, rank, world)
    renderer = Renderer(
        series.scan, series.labels, series.base, series.options, lambda b: _stored(series, b), cancelled
    )
    progress("cases", 0, len(share))
    for number, item in enumerate(share, 1):
        if not folder.is_done(item.case):
            _make_or_tell(series, renderer, item)
        progress("cases", number, len(share))


def share_of(items: Sequence[Item], rank: int, world: int) -> list[Item]:
    """The items that fall to process ``rank`` of ``world``; the processes need no word from each other.

    All of a background falls to one of them, so that it is made once; but not where there are fewer than processes.
    """
    together = len({item.background for item in items}) >= world
    return [item for index, item in enumerate(items) if (item.background if together else index) % world == rank]


def finish(series: Series) -> dict[str, dict[str, Any]]:
    """Write the data set of all complete cases. Several processes may end at once: the last to write has seen all.

    Returns:
        Name -> record of the cases that are not complete (an empty record where the case was never tried).
    """
    folder, names = series.folder, [item.case for item in series.items]
    records = folder.done(names)
    while True:
        write_dataset(folder, series.items, series.classes, records)
        if (now := folder.done(names)).keys() == records.keys():
            break
        records = now
    return {case: folder.read_record(case) for case in names if case not in records}


def tidy(series: Series) -> None:
    """Remove what is left of cases that were broken off; only when no process is at work on the series."""
    folder = series.folder
    shutil.rmtree(folder.parts, ignore_errors=True)
    for item in series.items:
        if not folder.is_done(item.case):  # a volume without a record is no case, but nnU-Net would take it for one
            folder.image(item.case).unlink(missing_ok=True)
            folder.label(item.case).unlink(missing_ok=True)


def _make_or_tell(series: Series, renderer: Renderer, item: Item) -> None:
    try:
        _write_case(series, item, renderer.render(item))
    except (Cancelled, WeightsError):
        raise
    except Exception as error:
        told = isinstance(error, MaisiError)
        sentence = str(error) if told else f"{type(error).__name__}: {error}"
        record = {**item.to_json(), "status": "failed", "error": sentence}
        if not told:
            record["trace"] = traceback.format_exc()
        if not series.folder.is_done(item.case):  # by another process
            write_json(series.folder.record(item.case), record)


def _write_case(series: Series, item: Item, made: Rendered) -> None:
    """All files are complete before the first one is moved to its place; the record comes last."""
    folder = series.folder
    with tempfile.TemporaryDirectory(dir=folder.parts, prefix=f"{item.case}-", ignore_cleanup_errors=True) as name:
        part = SeriesFolder(Path(name))
        for path in (part.image(item.case), part.label(item.case), part.record(item.case)):
            path.parent.mkdir()
        labels = renumber(made.labels, series.classes)
        write_volume(part.image(item.case), made.image, _origin(made.info))
        write_volume(part.label(item.case), labels)
        files = {
            "image": _file(part, part.image(item.case), made.image.array),
            "label": _file(part, part.label(item.case), labels.array),
        }
        write_json(part.record(item.case), _record(item, made, files))
        for kind in (SeriesFolder.label, SeriesFolder.image, SeriesFolder.record):
            os.replace(kind(part, item.case), kind(folder, item.case))


def _record(item: Item, made: Rendered, files: dict[str, Any]) -> dict[str, Any]:
    return {
        **item.to_json(),
        "status": "done",
        **files,
        **made.contrast,
        **made.info,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "maisi": maisi.__version__,
    }


def _file(folder: SeriesFolder, path: Path, array: Any) -> dict[str, Any]:
    """Name, size and SHA-256 of a file, and of the voxels in it, which do not depend on the compression."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    return {"file": folder.relative(path), "bytes": size, "sha256": digest, "voxels_sha256": array_sha256(array)}


def _origin(info: dict[str, Any]) -> str:
    """What stands in the image's header."""
    if "model" not in info:
        return "The CT that the series varies"
    return Origin("ct", info["model"], info["seed"], info["model_sha256"]).description


def _stored(series: Series, background: int) -> ImageVolume | None:
    """The image of a background, where its case is complete."""
    for item in series.items:
        if item.background == background and item.variation is None and series.folder.is_done(item.case):
            return read_image(series.folder.image(item.case))
    return None
