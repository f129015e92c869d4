"""The models of a machine for people: what they make, whether they are there, under which license. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from maisi.models.licenses import LICENSES, open_licenses
from maisi.models.store import listing
from maisi.models.variants import get_variant
from MAISILib.Translate import _


@dataclass(frozen=True)
class ModelRow:
    """One model.

    Attributes:
        name: as in scenes and on the command line. title, image ("CT", "MR"), license: for people.
        state: for example "installed, 18 MB". installed: whether it can be used.
        fromLabels: whether it makes images from a segmentation. downloadable: whether its weights can be fetched, or
            deleted after they were.
    """

    name: str
    title: str
    image: str
    license: str
    state: str
    installed: bool
    fromLabels: bool
    downloadable: bool


@dataclass(frozen=True)
class ModelTable:
    """The models of one machine, and the folder of their weights there."""

    rows: tuple[ModelRow, ...] = ()
    folder: str = ""


def modelTable() -> ModelTable:
    """That of this machine. Raises InputError: a model card cannot be read."""
    return _table(listing())


def toldTable(line: str) -> ModelTable:
    """That of the machine on which ``maisi models list --json`` printed ``line``. Raises ValueError: it is none."""
    try:
        return _table(json.loads(line))
    except (KeyError, TypeError) as error:
        raise ValueError(line) from error


def unknownTable() -> ModelTable:
    """That of a machine which has not told yet: what comes along is there, the rest may be."""
    rows = (
        replace(row, installed=False, state=_("press Check")) if row.downloadable else row for row in modelTable().rows
    )
    return ModelTable(tuple(rows))


def consentText(model: str, machine: str = "") -> str:
    """The question to ask before a model is downloaded: from where, and the licenses that are not accepted yet.

    Args:
        machine: that they are downloaded to; "" for this one.

    Raises:
        InputError: there is no such model.
    """
    variant = get_variant(model)
    places = sorted({file.repository for file in variant.weights if file.repository})
    text = _("Download the weights of {title} from huggingface.co ({places}) to {machine}? That can be gigabytes.")
    machine = machine or _("this computer")
    parts = [text.format(title=variant.title, places=", ".join(places), machine=machine)]
    for name in open_licenses(file.license for file in variant.weights):
        license_ = LICENSES[name]
        parts.append(f"{name}\n{license_.summary}\n{license_.url}")
        parts.append(_("By going on you accept this license."))
    return "\n\n".join(parts)


def _table(told: Mapping[str, Any]) -> ModelTable:
    return ModelTable(tuple(map(_row, told["models"])), told["folder"])


def _row(model: Mapping[str, Any]) -> ModelRow:
    state = _("not downloaded")
    if not model["missing"]:
        state = _("installed, {megabytes:.0f} MB").format(megabytes=model["size"] / 1e6)
    elif model["size"]:
        state = _("{count} of {total} files missing").format(count=model["missing"], total=model["files"])
    return ModelRow(
        name=model["name"],
        title=model["title"],
        image=model["image"].upper(),
        license=model["license"],
        state=state,
        installed=not model["missing"],
        fromLabels=model["from_labels"],
        downloadable=model["downloadable"],
    )
