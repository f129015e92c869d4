"""The layouts in which data sets come: lists of MONAI and Auto3DSeg, nnU-Net v2 folders, folders of pairs.

Sources: MONAI, ``load_decathlon_datalist``; nnU-Net v2, documentation/dataset_format.md; TotalSegmentator v2.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.files import ITK, NIFTI
from maisi.train.prepare.cases import FOLDS, Case

_ENDINGS = (*NIFTI, *ITK)
_IMAGES, _LABELS = ("images", "imagesTr", "image"), ("labels", "labelsTr", "label", "masks")
_LABEL_WORDS = ("label", "seg", "mask", "gtv")


def read_sources(paths: Iterable[Path], modality: str | None = None) -> list[Case]:
    """All cases of the data sets at ``paths``, with ids that are unique.

    Args:
        modality: of images whose data set does not tell it; CT by default.

    Raises:
        InputError: a data set is missing, has none of the known layouts, or has no images.
    """
    cases: list[Case] = []
    for path in paths:
        found = list(_read_source(Path(path), modality or "ct"))
        if not found:
            raise InputError(f"{path} has no images; give a data list, an nnU-Net folder or a folder of images.")
        cases += found
    return _with_unique_ids(cases)


def _read_source(path: Path, modality: str) -> Iterator[Case]:
    if path.is_file():
        return _read_list(path, modality)
    if not path.is_dir():
        raise InputError(f"There is no data set {path}.")
    if (path / "imagesTr").is_dir() and "file_ending" in _read_json(path / "dataset.json", {}):
        return _read_nnunet(path, modality)
    lists = [path / name for name in ("datalist.json", "dataset.json") if (path / name).is_file()]
    return _read_list(lists[0], modality) if lists else _read_folder(path, modality)


def _read_json(path: Path, missing: Any = None) -> Any:
    if missing is not None and not path.is_file():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a JSON file that can be read ({error}).") from error


# ---- data lists


def _read_list(path: Path, modality: str) -> Iterator[Case]:
    """``{"training": [{"image", "label", "fold", "modality", "spacing", "weight", "pair"}]}``; ``pair`` names the image
    of the same scan without its lesions. Other sections have no labels, or are for testing."""
    content = _read_json(path)
    try:
        items = content["training"]
        names = _names(content.get("labels", {}))
        common = content.get("modality", {})
        modality = common if isinstance(common, str) else common.get("0", modality)
        for index, item in enumerate(items):
            yield _listed(path, item, index, names, modality)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f'{path} is not a data list ({error!r}); it should read {{"training": [{{"image": ..., "label": ..., '
            '"fold": 0}]}, with paths relative to the list.'
        ) from error


def _listed(path: Path, item: dict[str, Any], index: int, names: dict[int, str], modality: str) -> Case:
    image = path.parent / item["image"]
    return Case(
        id=_stem(image),
        dataset=_dataset_name(path),
        image=image,
        label=path.parent / item["label"] if item.get("label") else None,
        fold=int(item.get("fold", index % FOLDS)),
        modality=str(item.get("modality", modality)),
        weight=float(item.get("weight", 1.0)),
        names=names,
        spacing=tuple(map(float, item["spacing"])) if item.get("spacing") else None,
        pair=_stem(path.parent / item["pair"]) if item.get("pair") else None,
    )


def _names(labels: dict[str, Any] | list[str]) -> dict[int, str]:
    """``{"1": "liver"}`` (MONAI), ``{"liver": 1}`` (nnU-Net) or ``["background", "liver"]`` -> value -> name."""
    if isinstance(labels, list):
        return dict(enumerate(labels))
    if all(str(key).isdecimal() for key in labels):
        return {int(value): str(name) for value, name in labels.items()}
    return {int(value): name for name, value in labels.items()}


def _dataset_name(path: Path) -> str:
    return path.resolve().parent.name if path.stem in ("datalist", "dataset") else path.stem


# ---- nnU-Net


def _read_nnunet(path: Path, modality: str) -> Iterator[Case]:
    """Each channel of a case is an image of its own; channels of one case share label and fold."""
    content = _read_json(path / "dataset.json")
    ending = content["file_ending"]
    channels = content.get("channel_names", {})
    try:
        names = _names(content.get("labels", {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path / 'dataset.json'} has labels of several values (regions); give plain ones.") from error
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    matches = [match for file in sorted((path / "imagesTr").iterdir()) if (match := pattern.fullmatch(file.name))]
    stems = list(dict.fromkeys(match[1] for match in matches))
    for match in matches:
        label = path / "labelsTr" / f"{match[1]}{ending}"
        yield Case(
            id=match[1] if len(channels) < 2 else f"{match[1]}_{match[2]}",
            dataset=path.resolve().name,
            image=path / "imagesTr" / match[0],
            label=label if label.is_file() else None,
            fold=stems.index(match[1]) % FOLDS,
            modality=str(channels.get(str(int(match[2])), modality)),
            names=names,
        )


# ---- folders


def _read_folder(path: Path, modality: str) -> Iterator[Case]:
    """``images/NAME`` with ``labels/NAME``, or a folder for each case with a CT and a label map or segmentations."""
    images = next((path / name for name in _IMAGES if (path / name).is_dir()), None)
    pairs = _pairs_of_folders(path, images) if images else _pairs_of_cases(path)
    for index, (name, image, label) in enumerate(pairs):
        yield Case(name, path.resolve().name, image, label, index % FOLDS, modality)


def _pairs_of_folders(path: Path, images: Path) -> Iterator[tuple[str, Path, Path | None]]:
    labels = {_stem(file): file for name in _LABELS for file in _volumes(path / name)}
    for image in _volumes(images):
        stem = _stem(image)
        yield stem, image, labels.get(stem) or labels.get(stem.removesuffix("_0000"))


def _pairs_of_cases(path: Path) -> Iterator[tuple[str, Path, Path | None]]:
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        files = _volumes(folder)
        labels = [f for f in files if any(word in _stem(f).casefold() for word in _LABEL_WORDS)]
        images = [f for f in files if f not in labels]
        if len(images) > 1:
            images = [f for f in images if _stem(f).casefold() in ("ct", "image", "img", "mri", "mr")] or images
        masks = folder / "segmentations"
        label = masks if masks.is_dir() else labels[0] if labels else None
        if len(images) > 1 or len(labels) > 1:
            raise InputError(
                f"{folder} has {len(images)} images and {len(labels)} label maps, so that the pair is not certain; "
                "keep one of each, called ct and label, or give a data list."
            )
        if images:
            yield folder.name, images[0], label


def _volumes(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.is_file() and file.name.lower().endswith(_ENDINGS)]


def _stem(path: Path) -> str:
    """The file's name without its ending; the folder's where the name says nothing."""
    name = re.sub(r"(\.seg)?(\.nii\.gz|\.[^.]+)$", "", path.name)
    plain = name.casefold() in ("ct", "image", "img", "mri", "mr") and path.parent.name
    return path.parent.name if plain else name


def _with_unique_ids(cases: list[Case]) -> list[Case]:
    """Ids fit for file names; with the data set's name, and then a number, where they are not unique."""
    ids = [re.sub(r"[^\w.-]+", "_", case.id) for case in cases]
    twice = {id_ for id_, count in Counter(ids).items() if count > 1}
    renamed = [f"{case.dataset}_{id_}" if id_ in twice else id_ for id_, case in zip(ids, cases, strict=True)]
    seen: Counter[str] = Counter()
    unique = []
    for name in renamed:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    new = {(case.dataset, case.id): name for case, name in zip(cases, unique, strict=True)}
    return [
        replace(case, id=name, pair=new.get((case.dataset, case.pair)) if case.pair else None)
        for case, name in zip(cases, unique, strict=True)
    ]
