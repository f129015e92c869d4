"""A series and its folder: planned, begun, or joined where the folder holds one already."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import maisi
from maisi.errors import InputError
from maisi.files import read_image, read_labels, write_json
from maisi.geometry import place_on
from maisi.labels import LABELS
from maisi.models.variants import get_variant
from maisi.options import Options
from maisi.request import Request, array_sha256
from maisi.vary.dataset import number_classes
from maisi.vary.folder import SeriesFolder
from maisi.vary.series import Item, SeriesRequest, background_labels, plan_series
from maisi.volume import ImageVolume, LabelVolume

FORMAT, VERSION = "maisi-series", 1
_MACHINE = ("device", "compiled")  # options that say where and how, not what


@dataclass(frozen=True)
class Series:
    """A planned series with its inputs.

    Attributes:
        folder: where it stands. source: the input files and options. request, items: what is wanted, and the plan.
        classes: MAISI id -> class in the data set. scan: the CT, or None. labels: as given. base: of the backgrounds.
    """

    folder: SeriesFolder
    source: Request
    request: SeriesRequest
    items: list[Item]
    classes: dict[int, int]
    scan: ImageVolume | None
    labels: LabelVolume
    base: LabelVolume

    @property
    def options(self) -> Options:
        """Of every synthesis, but for the seed."""
        return self.source.options


def plan(path: Path, source: Request, request: SeriesRequest) -> Series:
    """Read the input files and plan a series for the folder ``path``; nothing is written.

    Args:
        source: files "labels" and, where there is a CT to vary, "image"; their numbering; the options.

    Raises:
        InputError: a file or the request cannot be used.
    """
    if "image" in source.files:
        request = request.on_scan()
    scan, labels = _read(source)
    items = plan_series(labels, request)
    return _series(path, source, request, items, scan, labels)


def begin(series: Series) -> Series:
    """Make the folder of ``series``, or join the same series in it.

    Returns:
        The series with the plan that stands in the folder.

    Raises:
        InputError: the folder cannot be made or written, or holds something else.
    """
    folder, wanted = series.folder, _to_json(series)
    if folder.plan.exists():
        stored = _read_plan(folder)
        _check_same(folder, stored["identity"], wanted["identity"])
        series = replace(series, items=[Item.from_json(item) for item in stored["items"]])
    elif folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise InputError(f"{folder.path} is there already and holds no series; choose a new or empty folder.")
    try:
        folder.path.mkdir(exist_ok=True)
        for path in (folder.image("x"), folder.label("x"), folder.record("x")):
            path.parent.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise InputError(f"The folder {folder.path.parent} does not exist; create it or choose another.") from error
    except OSError as error:
        raise InputError(f"The folder {folder.path} cannot be written ({error.strerror}); choose another.") from error
    if not folder.plan.exists():
        write_json(folder.plan, wanted)
    return series


def join(path: Path) -> Series:
    """The series in the folder ``path``, with its inputs read anew.

    Raises:
        InputError: there is none, or an input or the model is another one than it was.
    """
    folder = SeriesFolder(path)
    stored = _read_plan(folder)
    source = Request.from_json(stored["source"], folder.path)
    request = SeriesRequest.from_json(stored["identity"]["request"])
    scan, labels = _read(source)
    series = _series(path, source, request, [Item.from_json(item) for item in stored["items"]], scan, labels)
    _check_same(folder, stored["identity"], _identity(series))
    return series


def _series(
    path: Path,
    source: Request,
    request: SeriesRequest,
    items: list[Item],
    scan: ImageVolume | None,
    labels: LabelVolume,
) -> Series:
    base = background_labels(labels, request)
    classes = number_classes(base, items, request.classes)
    return Series(SeriesFolder(path), source, request, items, classes, scan, labels, base)


def _read(source: Request) -> tuple[ImageVolume | None, LabelVolume]:
    """The CT, if there is one, and the labels on its grid."""
    get_variant(source.options.model)  # lesion classes of its own are known from here on
    labels = read_labels(source.files["labels"], source.numbering)
    if "image" not in source.files:
        return None, labels
    scan = read_image(source.files["image"])
    return scan, place_on(labels, scan)


def _identity(series: Series) -> dict[str, Any]:
    """What makes it this series and no other, as it stands in JSON."""
    options = {name: value for name, value in series.options.to_json().items() if name not in _MACHINE}
    arrays = {"labels": series.labels.array, **({"image": series.scan.array} if series.scan else {})}
    identity = {
        "request": series.request.to_json(),
        "options": options,
        "inputs": {role: array_sha256(array) for role, array in arrays.items()},
        "grid": {"affine": series.labels.affine.tolist()},
        "model": {"sha256": get_variant(series.options.model).checksum},
    }
    return json.loads(json.dumps(identity))


def _check_same(folder: SeriesFolder, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [
        name if part == "request" else f"{part}: {name}"
        for part, values in wanted.items()
        for name in sorted({*values, *stored[part]})
        if values.get(name) != stored[part].get(name)
    ]
    if differing:
        raise InputError(
            f"{folder.path} holds another series (it differs in {', '.join(differing)}); choose another folder, or "
            "give the same request."
        )


def _to_json(series: Series) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "maisi": maisi.__version__,
        "identity": _identity(series),
        "source": series.source.to_json(series.folder.path),
        "classes": {LABELS[id_].name: number for id_, number in series.classes.items()},
        "items": [item.to_json() for item in series.items],
    }


def _read_plan(folder: SeriesFolder) -> dict[str, Any]:
    if not folder.plan.is_file():
        raise InputError(f"There is no series in {folder.path}.")
    try:
        stored = json.loads(folder.plan.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT or stored["version"] != VERSION:
            raise ValueError("another format")
        return {name: stored[name] for name in ("identity", "source", "items")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder.plan} is damaged or of another version ({error}); choose another folder.") from error
