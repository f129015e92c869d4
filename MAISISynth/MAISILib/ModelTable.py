"""The models on this machine for people: what they make, whether they are here, under which license. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from maisi.models.licenses import LICENSES, open_licenses
from maisi.models.store import Stored, stored
from maisi.models.variants import get_variant, variants
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


def modelTable() -> list[ModelRow]:
    """All models. Raises InputError: a model card cannot be read."""
    return [_row(stored(variant)) for variant in variants().values()]


def consentText(model: str) -> str:
    """The question to ask before a model is downloaded: from where, and the licenses that are not accepted yet.

    Raises:
        InputError: there is no such model.
    """
    variant = get_variant(model)
    places = sorted({file.repository for file in variant.weights if file.repository})
    text = _("Download the weights of {title} from huggingface.co ({places}) to this computer? That can be gigabytes.")
    parts = [text.format(title=variant.title, places=", ".join(places))]
    for name in open_licenses(file.license for file in variant.weights):
        license_ = LICENSES[name]
        parts.append(f"{name}\n{license_.summary}\n{license_.url}")
        parts.append(_("By going on you accept this license."))
    return "\n\n".join(parts)


def _row(found: Stored) -> ModelRow:
    variant = found.variant
    size = _("{megabytes:.0f} MB").format(megabytes=found.size / 1e6)
    if found.installed:
        state = _("installed, {size}").format(size=size)
    elif found.size:
        text = _("{count} of {total} files missing")
        state = text.format(count=len(found.missing), total=len(variant.weights))
    else:
        state = _("not downloaded")
    return ModelRow(
        name=variant.name,
        title=variant.title,
        image=variant.image.upper(),
        license=variant.license,
        state=state,
        installed=found.installed,
        fromLabels="controlnet" in variant.networks,
        downloadable=all(file.repository for file in variant.weights),
    )
