"""Data sets that people have: a folder of files, a MONAI/Auto3DSeg data list, or an nnU-Net data set.

Sources: MONAI, load_decathlon_datalist; nnU-Net v2, documentation/dataset_format.md.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.files import ITK, NIFTI, read_image, read_labels
from maisi.geometry import place_on
from maisi.labels import LABELS, find_label
from maisi.models.variants import variants
from maisi.volume import ImageVolume, LabelVolume

_IMAGE_WORDS, _LABEL_WORDS = {"image", "images", "img", "ct"}, {"label", "labels", "seg", "segmentation", "mask"}
_SIDE_FOLDERS = {"images": "image", "imagesTr": "image", "labels": "label", "labelsTr": "label", "masks": "label"}
_MASKS = "segmentations"  # TotalSegmentator: a file for each structure
_ENDINGS = (*NIFTI, *ITK)


@dataclass(frozen=True)
class Scan:
    """An image and its label map, as files.

    Attributes:
        case: its name in the data set. fold: of a cross-validation. entry: what else the data set says about it.
        label: a file, or a folder with a mask file for each structure.
    """

    case: str
    image: Path
    label: Path | None = None
    fold: int | None = None
    entry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The scans of a data set.

    Attributes:
        name: of its folder or list. classes: number in the label files -> name, where the data set tells; else the
            files have the numbering ``source``.
    """

    name: str
    scans: tuple[Scan, ...]
    classes: dict[int, str] = field(default_factory=dict)
    source: str = "maisi"

    @property
    def labelled(self) -> tuple[Scan, ...]:
        """The scans with labels. Raises InputError: there is none."""
        found = tuple(scan for scan in self.scans if scan.label)
        if not found:
            raise InputError(f"{self.name} has images but no label maps; name the files NAME_image and NAME_label.")
        return found

    def read_labels(self, scan: Scan) -> LabelVolume:
        """The label map of a scan as MAISI ids. Raises InputError: it cannot be read, or a class is not understood."""
        return read_labels(scan.label, self._ids() if self.classes else self.source)

    def read_pair(self, scan: Scan) -> tuple[ImageVolume, LabelVolume]:
        """Image and labels of a scan on the image's grid. Raises InputError: they cannot be read or do not fit."""
        image = read_image(scan.image)
        try:
            return image, place_on(self.read_labels(scan), image)
        except InputError as error:
            raise InputError(f"{scan.case}: {error}") from error

    def _ids(self) -> dict[int, int]:
        variants()  # lesion classes of the user's own models are known from here on
        found = {number: 0 if name == "background" else find_label(name) for number, name in self.classes.items()}
        unknown = [self.classes[number] for number, id_ in found.items() if id_ is None]
        if unknown:
            raise InputError(
                f"{self.name} has classes that are not understood: {', '.join(unknown)}; give them names such as "
                '"left kidney", or a table "maisi_ids" of name and MAISI id in its dataset.json.'
            )
        return found


def read_dataset(path: str | os.PathLike, source: str = "maisi", absent_ok: bool = False) -> Dataset:
    """The scans in ``path``, sorted by name; no volume is opened.

    Args:
        path: an nnU-Net data set (dataset.json, imagesTr, labelsTr; folds of a splits_final.json in it; each channel is
            a scan with its name as "modality"); a data list (.json with "training" and perhaps "validation", paths
            relative to it); or a folder, in whose sub-folders files of one name but for image, img, ct or label, seg,
            segmentation, mask belong together, also from folders side by side called images and labels; a folder called
            segmentations is the label of the scan beside it.
        source: numbering of label files whose data set does not name its classes.
        absent_ok: files that a data list names need not exist; whoever reads them will find out.

    Raises:
        InputError: there is no such thing, no image in it, or files that it names are missing.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return _read_list(path, source, absent_ok)
    if not path.is_dir():
        raise InputError(f"There is no folder {path}.")
    if (path / "dataset.json").is_file() and (path / "imagesTr").is_dir():
        return _read_nnunet(path, source)
    scans = _find_scans(path)
    if not scans:
        raise InputError(f"There is no image in {path}; give NIfTI, NRRD or MetaImage files.")
    return Dataset(path.resolve().name, tuple(scans), source=source)


def find_pairs(folder: str | os.PathLike) -> list[tuple[Path, Path]]:
    """Image and label files in ``folder`` and its sub-folders that belong together, sorted; see :func:`read_dataset`.

    Raises:
        InputError: there is no such folder, no pair, or more than one candidate for a pair.
    """
    if not Path(folder).is_dir():
        raise InputError(f"There is no folder {folder}.")
    pairs = [(scan.image, scan.label) for scan in _find_scans(Path(folder)) if scan.label]
    if not pairs:
        told = "NAME_image and NAME_label (or ct and labels in a folder for each case)"
        raise InputError(f"There is no pair of an image and its labels in {folder}; name the files {told}.")
    return pairs


# ---- a folder


def _find_scans(folder: Path) -> list[Scan]:
    """Scans of a folder: by role, then by what remains of the names. Files without a word for their role are images,
    unless another file of the same name says that it is the image. The only image and the only label of a folder
    belong together whatever their names."""
    found: dict[Path, dict[tuple[str, ...], dict[str, list[Path]]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted(folder.rglob("*")):
        if path.name.lower().endswith(_ENDINGS) and path.is_file() and path.parent.name != _MASKS:
            place, role, rest = _role(path)
            found[place][rest].setdefault(role, []).append(path)
    scans = [
        Scan(_case(image, folder), image, label)
        for place, groups in found.items()
        for image, label in _pairs(place, list(groups.values()))
    ]
    return sorted(scans, key=lambda scan: scan.image)


def _pairs(place: Path, groups: list[dict[str, list[Path]]]) -> Iterator[tuple[Path, Path | None]]:
    """The images of a folder with their labels, from its files by what remains of their names and by role."""
    counts = {role: sum(len(files.get(role, [])) for files in groups) for role in ("image", "plain", "label")}
    if (counts["image"] + counts["plain"], counts["label"]) == (1, 1):
        groups = [{role: files for group in groups for role, files in group.items()}]
    for files in groups:
        images, labels = files.get("image") or files.get("plain", []), files.get("label", [])
        labels = labels or [masks for masks in [place / _MASKS] if masks.is_dir()]
        if images and labels and len(images) + len(labels) > 2:
            raise InputError(f"{', '.join(p.name for p in images + labels)} in {place} could all be a pair.")
        yield from ((image, labels[0] if labels else None) for image in images)


def _role(path: Path) -> tuple[Path, str, tuple[str, ...]]:
    """The folder where a file's partner is to be looked for, what it is, and what remains of its name."""
    words = re.split(r"[_\-. ]+", _stem(path).lower())
    rest = tuple(w for w in words if w not in _LABEL_WORDS | _IMAGE_WORDS)
    if path.parent.name in _SIDE_FOLDERS:
        return path.parent.parent, _SIDE_FOLDERS[path.parent.name], rest
    return (
        path.parent,
        "label" if _LABEL_WORDS & set(words) else "image" if _IMAGE_WORDS & set(words) else "plain",
        rest,
    )


def _stem(path: Path) -> str:
    return re.sub(r"(\.nii)?\.\w+$", "", path.name, flags=re.IGNORECASE)


def _case(image: Path, folder: Path) -> str:
    return "/".join((*image.relative_to(folder).parent.parts, _stem(image)))


# ---- nnU-Net


def _read_nnunet(folder: Path, source: str) -> Dataset:
    content = _read_json(folder / "dataset.json")
    ending = content.get("file_ending", ".nii.gz")
    fold_of = _nnunet_folds(folder / "splits_final.json")
    channels = {int(number): name for number, name in (content.get("channel_names") or {"0": ""}).items()}
    scans = []
    for channel, modality in channels.items():
        for image in (folder / "imagesTr").glob(f"*_{channel:04d}{ending}"):
            case = image.name.removesuffix(f"_{channel:04d}{ending}")
            label = folder / "labelsTr" / f"{case}{ending}"
            name = case if len(channels) == 1 else f"{case}_{channel:04d}"
            entry = {"modality": modality} if modality else {}
            scans.append(Scan(name, image, label if label.is_file() else None, fold_of.get(case), entry))
    scans.sort(key=lambda scan: scan.case)
    if not scans:
        raise InputError(f"There is no image in {folder / 'imagesTr'}; nnU-Net names them NAME_0000{ending}.")
    return Dataset(folder.resolve().name, tuple(scans), _nnunet_classes(content, folder), source)


def _nnunet_classes(content: dict[str, Any], folder: Path) -> dict[int, str]:
    """Number -> name; names of MAISI ids where ``maisi vary`` or a user wrote them down."""
    known = content.get("maisi_ids", {})
    try:
        names = {
            name: LABELS[known[name]].name if known.get(name) in LABELS else name for name in content.get("labels", {})
        }
        return {int(number): names[name] for name, number in content.get("labels", {}).items()}
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder / 'dataset.json'} has labels that are regions or no numbers; give one number for each name."
        ) from error


def _nnunet_folds(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    try:
        return {case: fold for fold, split in enumerate(json.loads(path.read_text("utf-8"))) for case in split["val"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not nnU-Net's list of splits; repair it or remove it.") from error


# ---- data lists


def _read_list(path: Path, source: str, absent_ok: bool) -> Dataset:
    content = _read_json(path)
    entries = [*content.get("training", []), *content.get("validation", [])]
    scans = [_listed(entry, path, absent_ok) for entry in entries]
    if not scans:
        raise InputError(f'{path} lists nothing under "training" or "validation"; it must be a MONAI data list.')
    if len({scan.case for scan in scans}) < len(scans):  # such as 12/ct.nii.gz and 13/ct.nii.gz
        scans = [replace(scan, case=f"{scan.image.parent.name}/{scan.case}") for scan in scans]
    classes = {int(number): name for number, name in content.get("labels", {}).items() if str(number).isdecimal()}
    return Dataset(path.stem, tuple(scans), classes, source)


def _listed(entry: Any, path: Path, absent_ok: bool) -> Scan:
    try:
        files = {role: path.parent / _first(entry[role]) for role in ("image", "label") if entry.get(role)}
        image, label, fold = files["image"], files.get("label"), entry.get("fold")
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f'{path} has an entry without an "image": {json.dumps(entry)[:80]}.') from error
    for file in filter(None, (image, label)):
        if not (absent_ok or file.is_file()):
            raise InputError(f"{path} names {file}, which does not exist; paths are relative to the list.")
    others = {key: value for key, value in entry.items() if key not in ("image", "label", "fold")}
    case = _stem(image).removesuffix("_0000")
    return Scan(case, image, label, None if fold is None else int(fold), others)


def _first(files: str | Sequence[str]) -> str:
    return files if isinstance(files, str) else files[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not JSON ({error}); repair it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object.")
    return content
