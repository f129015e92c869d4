"""One case as training sees it: RAS, intensities, sizes, copies, and label maps with a body."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from maisi.body import with_body
from maisi.files import read_image
from maisi.geometry import GridPlan
from maisi.labels import BODY
from maisi.modalities import is_mr, modality_code
from maisi.options import REGIONS
from maisi.regions import find_regions
from maisi.train.prepare.cases import Case
from maisi.train.prepare.folder import Plan, PreparedFolder
from maisi.train.prepare.numbering import read_case_labels
from maisi.train.prepare.sizes import plan_sizes
from maisi.train.prepared import Item, Settings
from maisi.volume import ImageVolume, LabelVolume

MR_PERCENTILES = (0.0, 99.5)  # become 0 and 1 (FACTS 5.1)
VERSION = 1  # of what is made here: another one makes all cases anew


def volumes_key(plan: Plan, case: Case) -> str:
    """SHA-256 of all that the files of a case depend on."""
    settings = replace(plan.settings, classes=(), autoencoder={}, scale_factor=None)
    told = json.dumps([VERSION, plan.contents[case.id], asdict(settings)])
    return hashlib.sha256(told.encode()).hexdigest()


def make_volumes(plan: Plan, case: Case, folder: PreparedFolder) -> dict[str, Any]:
    """Write images and label maps of a case and its copies; returns its record, which is for the caller to write.

    Raises:
        InputError: a file cannot be used, or the folder not be written.
    """
    image = read_image(case.image)
    labels, notes = _labels(plan, case, image)
    code = modality_code(case.modality)
    normalized = normalize(image, code, plan.settings)
    items, files = [], {}
    for number, grid in enumerate(plan_sizes(image, plan.settings)):
        made = grid.image_to_model(normalized)
        own = None if labels is None else grid.labels_to_model(labels).array
        item = _item(case, grid, code, own, copy=number > 0)
        files |= folder.write(item.image, lambda path, made=made: np.save(path, _stored(made.array, code)))
        if own is not None:
            files |= folder.write(item.label, lambda path, own=own: np.savez_compressed(path, labels=own))
        items.append(item)
    return {
        "case": case.id,
        "key": volumes_key(plan, case),
        "status": "done",
        "items": [asdict(item) for item in items],
        "files": files,
        "notes": notes,
    }


def normalize(image: ImageVolume, modality: int, settings: Settings) -> ImageVolume:
    """CT: HU cut at the window. MR: the percentiles become 0 and 1, values beyond stay beyond (FACTS 5.1). Float32."""
    values = image.array.astype(np.float32)
    if is_mr(modality):
        low, high = np.percentile(values, MR_PERCENTILES)
        return ImageVolume((values - np.float32(low)) / np.float32(max(high - low, 1e-6)), image.affine)
    return ImageVolume(values.clip(*settings.window), image.affine)


def _stored(array: np.ndarray, modality: int) -> np.ndarray:
    if is_mr(modality):
        return array.clip(0, None).astype(np.float16)  # what fixed spacing pads becomes 0
    return np.rint(array).astype(np.int16)


def _labels(plan: Plan, case: Case, image: ImageVolume) -> tuple[LabelVolume | None, list[str]]:
    labels = read_case_labels(case, image, plan.numbering)
    if labels is None or not labels.array.any():
        return None, []
    seen = None if is_mr(modality_code(case.modality)) else image  # the outline is found by HU
    complete, notice = with_body(labels, seen)
    return complete, [notice] if notice else []


def _item(case: Case, grid: GridPlan, modality: int, labels: np.ndarray | None, copy: bool) -> Item:
    shape = grid.model_shape
    name = f"{case.id}_{'x'.join(map(str, shape))}" if copy else case.id
    return Item(
        id=name,
        case=case.id,
        shape=shape,
        spacing=tuple(round(float(mm), 5) for mm in grid.model_spacing),
        modality=modality,
        image=f"images/{name}.npy",
        label=None if labels is None else f"labels/{name}.npz",
        fold=case.fold,
        dataset=case.dataset,
        weight=case.weight,
        region=None if labels is None else _region(labels),
        downsampled=copy,
        ids=() if labels is None else tuple(_ids(labels)),
        pair=case.pair and name.replace(case.id, case.pair, 1),
    )


def _region(labels: np.ndarray) -> tuple[int, int] | None:
    """First and last body region; None where no marker organ is there."""
    found = [REGIONS.index(name) for name in find_regions(labels)]
    return (found[0], found[-1]) if found else None


def _ids(labels: np.ndarray) -> Iterator[int]:
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    return (int(id_) for id_ in present if id_ not in (0, BODY))
