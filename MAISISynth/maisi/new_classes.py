"""Lesion classes that the vocabulary does not have: a user's own, on ids that no network was trained with.

A prepared data set names them, a model that was trained with them has them in its card, and :func:`learn` makes them
known to :mod:`maisi.labels`, so that reading, healing, editing and synthesis treat them like any tumor.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maisi.errors import InputError
from maisi.labels import BODY, LABELS, LESIONS, Code, Label, Terminology, add_tumor, find_label

# FACTS 2.1: the placeholders of the table, and what lies between and beyond it.
FREE_IDS = (*(i for i, label in LABELS.items() if label.unused), *range(133, BODY), *range(BODY + 1, 256))
_ALTERED = Code("49755003", "Morphologically Altered Structure")
_NEOPLASM = Code("108369006", "Neoplasm")


@dataclass(frozen=True)
class NewClass:
    """A lesion class of the user's own.

    Attributes:
        id: one of ``FREE_IDS``. name: as people call it. hosts: ids of the organs it lives in, at least one.

    Raises:
        InputError: the id is not free, the name is empty or means another label, or a host is no organ.
    """

    id: int
    name: str
    hosts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.id not in FREE_IDS:
            raise InputError(f"Id {self.id} is not free for a new class; take one of 133-199 or 201-255.")
        if not self.name.strip():
            raise InputError(f"The new class {self.id} has no name; give one.")
        if find_label(self.name) not in (None, self.id):
            other = LABELS[find_label(self.name)]
            raise InputError(f"{self.name!r} is known as label {other.id} ({other.name}); map it to that one instead.")
        wrong = [str(i) for i in self.hosts if i not in LABELS or LABELS[i].unused or i in (0, *LESIONS)]
        if wrong or not self.hosts:
            raise InputError(
                f"The new class {self.name!r} needs organs that it lives in, not {', '.join(wrong) or '-'}."
            )

    def to_json(self) -> dict[str, Any]:
        """As it stands in model cards and in ``prepared.json``."""
        return asdict(self)


def from_json(values: Iterable[dict[str, Any]]) -> tuple[NewClass, ...]:
    """The classes of a model card or of ``prepared.json``."""
    return tuple(NewClass(value["id"], value["name"], tuple(value["hosts"])) for value in values)


def parse(text: str) -> NewClass:
    """``"renal angiomyolipoma=133:left kidney,right kidney"`` -> the class. A paired organ without side is both.

    Raises:
        InputError: it is not written like that, or a host is not known.
    """
    name, equals, rest = text.partition("=")
    number, colon, hosts = rest.partition(":")
    if not (equals and colon and number.strip().isdecimal()):
        raise InputError(f"{text!r} is no new class; write for example 'renal angiomyolipoma=133:kidney'.")
    return NewClass(int(number), name.strip(), tuple(i for host in hosts.split(",") for i in _organs(host)))


def _organs(name: str) -> Sequence[int]:
    """Ids of an organ; of both sides where none is told; ``bone`` and ``lung`` are all of them."""
    lesion = find_label(f"{name} tumor")
    found = find_label(name)
    if found is not None:
        return (found,)
    if lesion is not None:
        return LABELS[lesion].hosts
    sides = [i for i in (find_label(f"left {name}"), find_label(f"right {name}")) if i is not None]
    if not sides:
        raise InputError(f"There is no organ called {name.strip()!r}; give names such as liver, left kidney, bone.")
    return sides


def learn(classes: Iterable[NewClass]) -> None:
    """Make ``classes`` known in this process; learning one again changes nothing.

    Raises:
        InputError: an id is already known under another name.
    """
    for new in classes:
        known = LABELS.get(new.id)
        if known is not None and not known.unused and known.name != new.name:
            raise InputError(
                f"Id {new.id} is {known.name!r} here, but {new.name!r} in another data set or model; give one of them "
                "another id."
            )
        add_tumor(_label(new))


def _label(new: NewClass) -> Label:
    hue = new.id * 0.618034 % 1  # neighbors get colors far apart
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, 1.0))
    region = LABELS[new.hosts[0]].terminology.type
    terminology = Terminology(_ALTERED, _NEOPLASM, Code(), region, Code())
    return Label(new.id, new.name, (red, green, blue), "", new.hosts, terminology, "")
