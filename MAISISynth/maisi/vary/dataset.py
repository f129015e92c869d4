"""The data set of a series: classes, folds, and the files that nnU-Net and Auto3DSeg read.

Sources: nnU-Net v2, documentation/dataset_format.md and manual_data_splits.md; MONAI, load_decathlon_datalist and
auto3dseg.datafold_read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from maisi.files import whole_file, write_json
from maisi.labels import LABELS, LESIONS
from maisi.vary.folder import DATALIST, DATASET, ENDING, MANIFEST, SPLITS, SeriesFolder
from maisi.vary.series import Item
from maisi.volume import LabelVolume

FOLDS = 5
DESCRIPTION = "SYNTHETIC CTs with planned lesions, made by MAISI. Not for clinical use."


def number_classes(base: LabelVolume, items: Sequence[Item], which: str) -> dict[int, int]:
    """MAISI id -> class, 1, 2, 3 ... in the order of the ids: nnU-Net wants consecutive numbers, 0 the background.

    Args:
        base: label map of the backgrounds. which: "all" labels, or "lesions" only (the rest becomes background).
    """
    ids = {int(id_) for slab in base.array for id_ in np.unique(slab)} - {0}
    ids |= {item.variation.lesion.label for item in items if item.variation}
    kept = sorted(ids if which == "all" else ids & set(LESIONS))
    return {id_: number for number, id_ in enumerate(kept, 1)}


def renumber(labels: LabelVolume, classes: dict[int, int]) -> LabelVolume:
    """``labels`` in the classes of the data set."""
    table = np.zeros(256, np.uint8)
    table[list(classes)] = list(classes.values())
    return LabelVolume(table[labels.array], labels.affine)


def folds(items: Sequence[Item]) -> dict[str, int]:
    """Case -> fold. Cases that resemble each other share one, or a validation would see what was trained on.

    Those are the cases of a background; where there is only one, those of a place, and the background with the first.
    """
    one = len({item.background for item in items}) == 1
    group = {
        item.case: (item.variation.lesion.center if item.variation else None) if one else item.background
        for item in items
    }
    places = list(dict.fromkeys(value for value in group.values() if value is not None))
    number = {None: 0} | {value: index % FOLDS for index, value in enumerate(places)}
    return {case: number[value] for case, value in group.items()}


def write_dataset(
    folder: SeriesFolder, items: Sequence[Item], classes: dict[int, int], records: dict[str, dict[str, Any]]
) -> None:
    """Write ``dataset.json``, ``datalist.json``, ``splits_final.json`` and ``manifest.jsonl`` of what there is.

    Args:
        records: of the complete cases, by name; the manifest also has the records of those that failed.

    Raises:
        InputError: a file cannot be written.
    """
    fold = folds(items)
    names = {LABELS[id_].name: number for id_, number in classes.items()}
    done = [item.case for item in items if item.case in records]
    common = {"name": folder.path.resolve().name, "description": DESCRIPTION, "numTraining": len(done)}
    write_json(
        folder.path / DATASET,
        {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, **names},
            "file_ending": ENDING,
            **common,
            "maisi_ids": {LABELS[id_].name: id_ for id_ in classes},
        },
    )
    baselines = {item.background: item.case for item in items if item.variation is None}
    pairs = {item.case: baselines.get(item.background) for item in items if item.variation is not None}
    training = [
        {
            "image": folder.relative(folder.image(case)),
            "label": folder.relative(folder.label(case)),
            "fold": fold[case],
            **({"pair": folder.relative(folder.image(pairs[case]))} if pairs.get(case) in records else {}),
        }
        for case in done
    ]
    labels = {"0": "background", **{str(number): name for name, number in names.items()}}
    write_json(
        folder.path / DATALIST,
        {"modality": {"0": "CT"}, "labels": labels, **common, "training": training, "testing": []},
    )
    _write(folder, SPLITS, json.dumps(_splits(done, fold), indent=2))
    lines = (json.dumps(records.get(item.case) or folder.read_record(item.case)) for item in items)
    _write(folder, MANIFEST, "".join(f"{line}\n" for line in lines if line != "{}"))


def _splits(cases: Sequence[str], fold: dict[str, int]) -> list[dict[str, list[str]]]:
    """nnU-Net's cross-validation; it belongs into the data set's folder in nnUNet_preprocessed."""
    return [
        {
            "train": [case for case in cases if fold[case] != number],
            "val": [case for case in cases if fold[case] == number],
        }
        for number in sorted({fold[case] for case in cases})
    ]


def _write(folder: SeriesFolder, name: str, text: str) -> None:
    with whole_file(folder.path / name) as part:
        part.write_text(text, encoding="utf-8")
