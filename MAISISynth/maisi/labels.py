"""The vocabulary: what each MAISI id means, what people call it, and what to do with overlaps and lesions.

Everything comes from one table, ``data/labels.csv``: id, name, side, color, host organs, TotalSegmentator v2 class,
SNOMED CT codes as 3D Slicer stores them, and further names. Ids and names are those of FACTS appendix A; VISTA3D
(NV-Segment-CT) emits the same ids but never 200.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from maisi.errors import InputError

BACKGROUND = 0
BODY = 200


class Code(NamedTuple):
    """A SNOMED CT code (scheme SCT) and its meaning; both empty where none is given."""

    value: str = ""
    meaning: str = ""


class Terminology(NamedTuple):
    """The five codes of a segment's terminology entry in 3D Slicer."""

    category: Code
    type: Code
    type_modifier: Code
    region: Code
    region_modifier: Code


@dataclass(frozen=True)
class Label:
    """One MAISI id.

    Attributes:
        side: "left", "right" or "".
        color: red, green, blue, 0-255.
        hosts: ids of the organs this lesion lives in; () for anything that is not a lesion.
        terminology: SNOMED CT codes (empty values for background and the unused ids).
        totalsegmentator: class name in TotalSegmentator v2 "total", or "".
    """

    id: int
    name: str
    color: tuple[int, int, int]
    side: str
    hosts: tuple[int, ...]
    terminology: Terminology
    totalsegmentator: str

    @property
    def unused(self) -> bool:
        """Whether the id is a placeholder that no network was trained with (dummy1 ... dummy8)."""
        return self.name.startswith("dummy")


def _expand(ids: str) -> tuple[int, ...]:
    """``"33-35 97"`` -> (33, 34, 35, 97)."""
    ranges = (part.partition("-") for part in ids.split())
    return tuple(i for low, _, high in ranges for i in range(int(low), int(high or low) + 1))


def _read_label(row: dict[str, str]) -> Label:
    codes = (Code(row[key], row[f"{key}_meaning"]) for key in Terminology._fields)
    red, green, blue = bytes.fromhex(row["color"].lstrip("#"))
    hosts, terms = _expand(row["hosts"]), Terminology(*codes)
    return Label(int(row["id"]), row["name"], (red, green, blue), row["side"], hosts, terms, row["totalsegmentator"])


with files("maisi").joinpath("data/labels.csv").open(encoding="utf-8", newline="") as _table:
    _ROWS = list(csv.DictReader(_table))

LABELS: dict[int, Label] = {label.id: label for label in map(_read_label, _ROWS)}

LESIONS = [23, 24, 26, 27, 128, 129, 116, 117]  # lists, since new classes are added to them (maisi.new_classes)
TUMORS = [23, 24, 26, 27, 128, 129]
CYSTS = (116, 117)
LUNGS = (28, 29, 30, 31, 32)
KIDNEYS = (5, 14)
BOWEL = (12, 13, 19, 62)
VERTEBRAE = (*range(33, 57), 127)
RIBS = tuple(range(63, 87))
BONES = LABELS[128].hosts
MUSCLES = tuple(range(98, 108))
# Structures drawn inside an organ that people segment whole.
INSIDE_ORGANS = (25, 132, *CYSTS)


def _mirrored_pairs() -> dict[int, int]:
    ids = {label.name: label.id for label in LABELS.values()}
    lefts = {
        label.id: ids.get(label.name.replace("left", "right")) for label in LABELS.values() if label.side == "left"
    }
    pairs = {left: right for left, right in lefts.items() if right is not None}
    return pairs | {right: left for left, right in pairs.items()}


# Left id <-> right id. Structures of one side only (31 right middle lobe, 108 left atrial appendage) are not in it.
sides_swap: dict[int, int] = _mirrored_pairs()


# ---- names


def _read_words() -> dict[str, tuple[str, ...]]:
    """Word -> the canonical words it is taken for (none for a word without a meaning of its own)."""
    lines = files("maisi").joinpath("data/words.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":") for line in lines if not line.startswith("#"))
    words = {word: tuple(canonical.split()) for canonical, given in pairs for word in given.split()}
    return words | {word: (word,) for canonical in words.values() for word in canonical}


_WORDS = _read_words()


def _words(name: str) -> frozenset[str]:
    """``name`` as a set of canonical words: case, order, separators, plural and synonyms no longer matter."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z]{3})(?=\d)", " ", name)  # KidneyLeft2 -> Kidney Left 2
    found: list[str] = []
    for word in re.findall(r"[^\W_]+", spaced.casefold()):
        singular = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
        found += _WORDS.get(word, _WORDS.get(singular, (singular,)))
    # "L3 vertebral body", "body of pancreas": the word says something only when it stands alone.
    return frozenset(found) - {"body"} or frozenset(found)


def _plain(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if not word.isdecimal())


def _read_names() -> dict[frozenset[str], int]:
    """Every known name as its set of words -> id. Lesions are also known by "tumor" and any name of a host."""
    names = {
        int(row["id"]): [row["name"], row["totalsegmentator"], *filter(None, row["aliases"].split(";"))]
        for row in _ROWS
    }
    known: dict[frozenset[str], int] = {}
    for lesion in TUMORS:
        for host in LABELS[lesion].hosts:
            for words in filter(None, map(_words, names[host])):
                unsided = words - {"left", "right"}
                known |= dict.fromkeys((form | {"tumor"} for form in (words, unsided, _plain(unsided))), lesion)
    for label in LABELS.values():
        if not label.unused:
            known |= {words: label.id for words in map(_words, names[label.id]) if words}
    return known


_BY_NAME = _read_names()


def add_tumor(label: Label) -> None:
    """Make ``label`` known as a tumor, in this process, like those of the table."""
    LABELS[label.id] = label
    _MAISI[label.id] = label.id
    _BY_NAME[_words(label.name)] = label.id
    for lesions in (LESIONS, TUMORS):
        if label.id not in lesions:
            lesions.append(label.id)


def find_label(name: str) -> int | None:
    """The MAISI id of what ``name`` names, or None when that is not certain.

    Understands MAISI, VISTA3D and TotalSegmentator v2 names and common clinical ones in any case, order and
    separator ("Kidney_left", "liver tumour", "lung nodule left upper lobe"). A number at the end is ignored ("Liver_1")
    where it does not count ribs or vertebrae. A whole lung has no MAISI id: "left lung" and "right lung" give
    the lower lobe of that side (29, 32), which looks the same in the image. A paired organ without a side, a lesion
    without an organ, a bare "L3", or any word that is not understood gives None.
    """
    words = _words(name)
    return _BY_NAME.get(words, _BY_NAME.get(_plain(words)))


# ---- SNOMED CT

_LEFT, _RIGHT = "7771000", "24028007"
_ALTERED_STRUCTURE = "49755003"
# Neoplasm; primary neoplasm; metastasis; mass; lesion; lung nodule
_TUMOR_TYPES = ("108369006", "86049000", "14799000", "4147007", "52988006", "786838002")
# Found in Slicer's terminologies, coded otherwise in the table: skin, trunk, a whole lung.
_OTHER_CODES = {("39937001", ""): BODY, ("22943007", ""): BODY, ("39607008", _LEFT): 29, ("39607008", _RIGHT): 32}


def _read_codes() -> dict[tuple[str, str, str], int]:
    """(type, side or other modifier, region) -> id."""
    known = {(type_, side, ""): id_ for (type_, side), id_ in _OTHER_CODES.items()}
    for label in LABELS.values():
        _, type_, modifier, region, region_modifier = (code.value for code in label.terminology)
        known[type_, modifier or region_modifier, region] = label.id
    for lesion in TUMORS:
        regions = {LABELS[host].terminology.type.value for host in LABELS[lesion].hosts}
        regions.add(LABELS[lesion].terminology.region.value)
        known |= {(t, side, region): lesion for t in _TUMOR_TYPES for side in ("", _LEFT, _RIGHT) for region in regions}
    del known["", "", ""]
    return known


_BY_CODES = _read_codes()


def find_terminology(category: str, type_: str, type_modifier: str, region: str, region_modifier: str) -> int | None:
    """The MAISI id of a segment's SNOMED CT codes ("" where absent), or None when they do not tell.

    Any tumor-like type (neoplasm, mass, lesion, nodule) in the region of an organ is that organ's lesion. A side may
    stand as modifier of the type or of the region.
    """
    side = next((m for m in (type_modifier, region_modifier) if m in (_LEFT, _RIGHT)), "")
    found = _BY_CODES.get((type_, side or type_modifier, region))
    altered = found is not None and LABELS[found].terminology.category.value == _ALTERED_STRUCTURE
    return found if altered == (category == _ALTERED_STRUCTURE) else None


# ---- voxels

_TOTALSEGMENTATOR = {int(row["totalsegmentator_id"]): int(row["id"]) for row in _ROWS if row["totalsegmentator_id"]}
_MAISI = {label.id: label.id for label in LABELS.values() if not label.unused}
_SOURCES: dict[str, dict[int, int]] = {
    "maisi": _MAISI,
    "totalsegmentator": {0: 0} | _TOTALSEGMENTATOR,
    "vista3d": {i: i for i in _MAISI if i != BODY},  # 200 is another structure in newer VISTA vocabularies
}
SOURCES = tuple(_SOURCES)


def map_ids(array: np.ndarray, source: str | Mapping[int, int] = "maisi") -> np.ndarray:
    """``array`` of whole numbers in the numbering of ``source`` -> uint8 MAISI ids, same shape.

    Args:
        source: "maisi", "totalsegmentator" (v2, task "total", 117 classes), "vista3d", or a table of number and id.

    Raises:
        InputError: unknown source, or ids that the source does not have (they are named).
    """
    if isinstance(source, str) and source not in _SOURCES:
        raise InputError(f"Labels from {source!r} are not known; choose one of {', '.join(SOURCES)}.")
    table, source = (_SOURCES[source], source) if isinstance(source, str) else (source, "the data set")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise InputError(f"The label map has ids from {low} to {high}; {source} ids are small positive numbers.")
    present = np.zeros(high + 1, bool)
    present[array] = True
    unknown = [str(i) for i in np.flatnonzero(present) if i not in table]
    if unknown:
        shown = ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else "")
        raise InputError(f"The label map has ids that {source} does not define: {shown}; remove or renumber them.")
    return np.array([table.get(i, 0) for i in range(high + 1)], np.uint8)[array]


def _priority(id_: int) -> int:
    if id_ in TUMORS:
        return 4
    if id_ in INSIDE_ORGANS:
        return 3
    return {BACKGROUND: 0, BODY: 1}.get(id_, 2)


def merge(layers: Sequence[tuple[np.ndarray, int]], shape: tuple[int, int, int]) -> np.ndarray:
    """Overlapping masks -> one ``[I, J, K]`` uint8 label map.

    Tumors win over vessels, airway and cysts inside organs, these over organs, organs over body, body over
    background. Between two of the same rank the later layer wins, as in 3D Slicer's export.

    Args:
        layers: pairs of a boolean ``[I, J, K]`` mask and its MAISI id.
    """
    merged = np.zeros(shape, np.uint8)
    for mask, id_ in sorted(layers, key=lambda layer: _priority(layer[1])):  # stable: keeps the order of equals
        merged[mask] = id_
    return merged


def remove_lesions(array: np.ndarray) -> np.ndarray:
    """A copy of the ``[I, J, K]`` label map in which every lesion voxel has the id of its nearest host voxel.

    This is what lies under the lesion (FACTS 2.5, with the nearest lobe instead of the most frequent one, and with
    bone and kidney lesions included). Where the map has no host at all: the lesion's only host, else body.
    """
    healed = array.copy()
    for lesion in LESIONS:
        mask = array == lesion
        if not mask.any():
            continue
        hosts = np.isin(array, LABELS[lesion].hosts)
        if hosts.any():
            box = _box_with_nearest(mask, hosts)
            nearest = ndimage.distance_transform_edt(~hosts[box], return_distances=False, return_indices=True)
            healed[box][mask[box]] = array[box][tuple(index[mask[box]] for index in nearest)]
        else:
            only = LABELS[lesion].hosts
            healed[mask] = only[0] if len(only) == 1 else BODY
    return healed


def _box_with_nearest(mask: np.ndarray, hosts: np.ndarray) -> tuple[slice, ...]:
    """A box around ``mask`` that surely holds the nearest host of each of its voxels; small where that is enough."""
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    margin = 8
    while True:
        margin *= 2
        box = tuple(
            slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(found, mask.shape, strict=True)
        )
        if hosts[box].shape == mask.shape:
            return box
        if hosts[box].any() and ndimage.distance_transform_edt(~hosts[box])[mask[box]].max() <= margin:
            return box
