"""The embedded model's data as a prepared data set: rendered pairs, and real CTs for the autoencoder.

Everything is written under a temporary name first and listed last, so that generation can be stopped and continued,
and a training can start on what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy import ndimage

from maisi.files import read_image
from maisi.models.networks import COMPRESSION
from maisi.train.embedded.cases import make_labels
from maisi.train.embedded.render import render_pair
from maisi.train.embedded.tissues import NATIVE, PORTAL_VENOUS
from maisi.train.prepared import PREPARED, Item, Settings, read_items, write_items
from maisi.volume import LabelVolume

FOLDS = 20  # fold 0 is held out
SETTINGS = Settings(multiple=COMPRESSION, window=(-1000.0, 1500.0), copies="none", min_slices=1)
_NATIVE_SHARE = 0.3
_REAL_SPACINGS = (2.2, 3.0)  # mm
_SMALLEST_REAL = 32  # voxels


def write_cases(folder: Path, seeds: Sequence[int], maps: Mapping[str, LabelVolume], **options: object) -> None:
    """Add the rendered pairs of ``seeds`` that ``folder`` does not list yet.

    Args:
        maps: real label maps by name. options: of :func:`make_labels`.
    """
    _extend(folder, {f"case_{seed:06d}": _pair_writer(seed, maps, options) for seed in seeds})


def write_real(folder: Path, images: Iterable[Path]) -> None:
    """Add real CTs, resampled to about 2.2 and 3 mm, each under the name of its file's folder; no labels."""
    _extend(folder, {f"real_{path.parent.name}": _real_writer(path) for path in images})


def _extend(folder: Path, writers: Mapping[str, Callable[[Path, str], list[Item]]]) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    save_file(folder / PREPARED, lambda file: file.write(json.dumps(asdict(SETTINGS), indent=1).encode()))
    items = read_items(folder) if (folder / "items.jsonl").exists() else []
    done = {item.case for item in items}
    for case, write in writers.items():
        if case not in done:
            items += write(folder, case)
            write_items(folder, items)


def _pair_writer(
    seed: int, maps: Mapping[str, LabelVolume], options: Mapping[str, object]
) -> Callable[[Path, str], list[Item]]:
    def write(folder: Path, case: str) -> list[Item]:
        before, after, source = make_labels(seed, maps, **options)
        rng = np.random.default_rng((seed, 1))
        modality = NATIVE if rng.random() < _NATIVE_SHARE else PORTAL_VENOUS
        images = render_pair(before, after, rng, modality)
        items = []
        for own, labels, image in zip("ab", (before, after), images, strict=True):
            item = Item(
                id=f"{case}{own}",
                case=case,
                shape=labels.shape,
                spacing=tuple(float(s) for s in labels.spacing),
                modality=modality,
                image=f"images/{case}{own}.npy",
                label=f"labels/{case}{own}.npz",
                fold=seed % FOLDS,
                dataset=source,
                ids=tuple(np.unique(labels.array).tolist()),
                pair=f"{case}a" if own == "b" else None,
            )
            save_file(folder / item.image, lambda file, array=image.array: np.save(file, array))
            save_file(folder / item.label, lambda file, array=labels.array: np.savez_compressed(file, labels=array))
            items.append(item)
        return items

    return write


def _real_writer(path: Path) -> Callable[[Path, str], list[Item]]:
    def write(folder: Path, case: str) -> list[Item]:
        image, items = read_image(path), []
        for spacing in _REAL_SPACINGS:
            factor = image.spacing / spacing
            smooth = ndimage.gaussian_filter(image.array.astype(np.float32), 0.4 * (1 / factor - 1).clip(0))
            array = np.rint(ndimage.zoom(smooth, factor, order=1)).clip(-1024, 3071).astype(np.int16)
            array = _padded(array)
            name = f"{case}_{10 * spacing:.0f}"
            real = tuple(float(s) for s in (spacing,) * 3)
            items.append(Item(name, case, array.shape, real, image=f"images/{name}.npy", fold=1, dataset="real"))
            save_file(folder / items[-1].image, lambda file, array=array: np.save(file, array))
        return items

    return write


def _padded(array: np.ndarray) -> np.ndarray:
    """Air around it up to multiples of 4, and to the smallest size that patches are cut from."""
    lack = [max(_SMALLEST_REAL, -(-n // COMPRESSION) * COMPRESSION) - n for n in array.shape]
    return np.pad(array, [(n // 2, n - n // 2) for n in lack], constant_values=-1000)


def save_file(path: Path, write: Callable[[object], None]) -> None:
    """Let ``write`` fill a file under a temporary name, then put it in its place."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        write(file)
    temporary.replace(path)
