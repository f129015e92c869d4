"""The label maps of a data set as MAISI ids: its own names and numbers, other programs' organs, its own lesions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from maisi.errors import InputError
from maisi.files import ITK, NIFTI, read_labels, read_values
from maisi.geometry import place_on
from maisi.labels import BODY, INSIDE_ORGANS, LABELS, LESIONS, find_label, map_ids
from maisi.train.prepare.cases import Case
from maisi.volume import LabelVolume, Volume

IGNORE = "ignore"


@dataclass(frozen=True)
class Numbering:
    """What the values in label maps mean.

    Attributes:
        source: numbering of the maps, of ``maisi.labels.SOURCES``; None: the data set's own names where it tells them,
            else MAISI ids. pseudo: numbering of the organs that another program made.
        mapping: name or value -> id, before everything else; 0 leaves it out.
    """

    source: str | None = None
    pseudo: str = "maisi"
    mapping: dict[str, int] = field(default_factory=dict)

    def of_name(self, name: str, value: int | None = None) -> int | None:
        """The id of a structure called ``name``; None: not known."""
        given = self.mapping.get(name, self.mapping.get(str(value)))
        return find_label(name) if given is None else given

    def to_ids(self, values: np.ndarray, names: dict[int, str], source: str) -> np.ndarray:
        """Whole numbers -> uint8 MAISI ids, same shape.

        Raises:
            InputError: values that nobody explains, by name where they have one.
        """
        given = {int(text): id_ for text, id_ in self.mapping.items() if text.isdecimal()}
        if not names:
            mapped = np.isin(values, list(given))
            ids = map_ids(np.where(mapped, 0, values), source)
            ids[mapped] = map_ids(values[mapped], given) if mapped.any() else 0
            return ids
        known = {value: self.of_name(name, value) for value, name in names.items()}
        known = {0: 0} | given | known
        present = np.unique(values).tolist()
        unknown = [f"{v} ({names[v]})" if v in names else str(v) for v in present if known.get(v) is None]
        if unknown:
            raise InputError(
                f"The labels {', '.join(unknown[:10])} are not known; say what they are, for example with "
                f"--map '{unknown[0].partition('(')[2].rstrip(')') or unknown[0]}=liver' or '=ignore'."
            )
        return map_ids(values, {value: id_ for value, id_ in known.items() if id_ is not None})


def parse_mapping(texts: Iterable[str]) -> dict[str, int]:
    """``["kidney=left kidney", "7=133", "couch=ignore"]`` -> name or value -> id, 0 to leave out.

    Raises:
        InputError: it is not written like that, or what it should become is not known.
    """
    mapping = {}
    for text in texts:
        name, equals, what = (part.strip() for part in text.rpartition("="))
        id_ = 0 if what.casefold() == IGNORE else int(what) if what.isdecimal() else find_label(what)
        if not (equals and name) or id_ is None or id_ not in LABELS:
            raise InputError(f"{text!r} maps nothing; write for example 'kidney=left kidney', '7=133', 'couch=ignore'.")
        mapping[name] = id_
    return mapping


def read_case_labels(case: Case, image: Volume, numbering: Numbering) -> LabelVolume | None:
    """The label map of a case on the grid of its image: its own labels over those another program made.

    Its own organs leave what lies inside organs (vessels, airway, cysts) where the other program found it.

    Returns:
        None where the case has no labels.

    Raises:
        InputError: a file cannot be read, holds unknown labels, or lies on another grid.
    """
    own = pseudo = None
    if case.label is not None:
        names, source = (case.names, "maisi") if numbering.source is None else ({}, numbering.source)
        own = _on_grid(_read(case.label, names, numbering, source), image, case.label)
    if case.pseudo is not None:
        by_name = {text: id_ for text, id_ in numbering.mapping.items() if not text.isdecimal()}
        theirs = replace(numbering, mapping=by_name)  # numbers are those of the data set
        pseudo = _on_grid(_read(case.pseudo, {}, theirs, numbering.pseudo), image, case.pseudo)
    if own is None or pseudo is None:
        return own or pseudo
    inside = np.isin(pseudo.array, INSIDE_ORGANS) & ~np.isin(own.array, LESIONS)
    wins = ~np.isin(own.array, (0, BODY)) & ~inside
    return LabelVolume(np.where(wins, own.array, pseudo.array), image.affine)


def find_pseudo(folder: Path, case: Case) -> Path | None:
    """The file or folder with the organs of ``case`` below ``folder``: called like the case or its image."""
    for name in dict.fromkeys((case.id, case.image.name.partition(".")[0], case.image.parent.name)):
        files = [folder / f"{name}{ending}" for ending in (*NIFTI, ".seg.nrrd", *ITK)]
        inside = [folder / name / "segmentations", folder / name]
        masks = [path for path in inside if any(path.glob("*.nii*"))]
        for path in (*files, *masks):
            if path.exists():
                return path
    return None


def _read(path: Path, names: dict[int, str], numbering: Numbering, source: str) -> LabelVolume:
    if path.is_dir():
        return _read_masks(path, numbering)
    if path.name.endswith(".seg.nrrd"):
        return read_labels(path)
    values = read_values(path)
    return LabelVolume(numbering.to_ids(values.array, names, source), values.affine)


def _read_masks(folder: Path, numbering: Numbering) -> LabelVolume:
    """A file for each structure, called after it (TotalSegmentator); lesions over vessels over organs."""
    files = {path: path.name.partition(".")[0] for path in folder.glob("*.nii*")}
    ids = {path: numbering.of_name(name) for path, name in files.items()}
    unknown = sorted(files[path] for path, id_ in ids.items() if id_ is None)
    if unknown or not files:
        raise InputError(
            f"{folder} has masks whose names are not known: {', '.join(unknown[:10]) or 'none at all'}; rename them or "
            "say what they are with --map."
        )
    merged = None
    for path in sorted(files, key=lambda p: (ids[p] in LESIONS, ids[p] in INSIDE_ORGANS, p.name)):
        mask = read_values(path)
        merged = LabelVolume(np.zeros(mask.shape, np.uint8), mask.affine) if merged is None else merged
        if not mask.same_grid(merged):
            raise InputError(f"{path} lies on another grid than the other masks of {folder}; resample it.")
        merged.array[mask.array != 0] = ids[path]
    return merged


def _on_grid(labels: LabelVolume, image: Volume, path: Path) -> LabelVolume:
    try:
        return place_on(labels, image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
