"""A lesion put into patients' CTs and taken out again: what changes, where, and with how much noise.

python Testing/benchmarks/real_ct.py CT.nii.gz,LABELS.nii.gz,KIND ... [--radius 10] [--model embedded] [--png FILE]

The label maps hold MAISI ids; only the host organ of the lesion KIND (a MAISI id) is needed. "Noise" is
`maisi.texture.noise_within` the lesion, against that of the host up to 25 mm around it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from maisi.editing import NEAR_MM, edit
from maisi.files import read_image, read_labels
from maisi.labels import LABELS
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.texture import noise_within


def read(case: str, seed: int, args: argparse.Namespace) -> tuple[dict, tuple]:
    """One case."""
    ct_path, labels_path, kind = case.split(",")
    image, before = read_image(ct_path), read_labels(labels_path)
    lesion = random_lesion(before, int(kind), np.random.default_rng(seed), radius_mm=args.radius)
    after = add_lesion(before, lesion)
    there = edit(image, before, after, model=args.model, seed=seed)
    back = edit(there.image, after, before, model=args.model, seed=seed)
    old, new, healed = (i.array.astype(float) for i in (image, there.image, back.image))
    changed = before.array != after.array
    margin = there.info["margin_mm"]
    distance = ndimage.distance_transform_edt(~changed, sampling=image.spacing)
    host = np.isin(before.array, LABELS[int(kind)].hosts)
    ring = host & ~changed & (distance < NEAR_MM)
    noise_of_host = noise_within(old, ring, image.spacing)
    noise_of_lesion = noise_within(new, changed, image.spacing)
    row = {
        "case": f"{Path(ct_path).parent.name} {LABELS[int(kind)].name}",
        "seconds": there.info["seconds"],
        "margin_mm": margin,
        "beyond": max(np.abs(array - old)[distance > margin].max() for array in (new, healed)),
        "host_hu": np.median(old[ring]),
        "lesion_hu": np.median(new[changed]),
        "noise_host": noise_of_host,
        "noise_lesion": noise_of_lesion,
        "noise_ratio": noise_of_lesion / noise_of_host,
        "removed_rms": float(np.sqrt(((healed - old)[changed] ** 2).mean())),
    }
    return row, (old, new, healed, changed, image.spacing, row["case"])


def save_picture(path: Path, cases: list[tuple]) -> None:
    """Patient, with the lesion, without it again, and the difference; one row a case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(cases), 4, figsize=(13, 3.4 * len(cases)), squeeze=False)
    for row, (old, new, healed, changed, spacing, name) in zip(axes, cases, strict=True):
        center = np.argwhere(changed).mean(0).round().astype(int)
        half = np.ceil(70 / spacing).astype(int)
        x, y = (slice(max(c - h, 0), c + h) for c, h in zip(center[:2], half[:2], strict=True))
        level = np.median(old[changed])
        low, high = (-1200, 300) if level < -400 else (-200, 700) if level > 180 else (-150, 250)
        pictures = ((name, old, low, high), ("inserted", new, low, high), ("removed again", healed, low, high))
        for axis, (title, array, lowest, highest) in zip(
            row, (*pictures, ("difference", new - old, -150, 150)), strict=True
        ):
            colors = "coolwarm" if title == "difference" else "gray"
            axis.imshow(
                array[x, y, center[2]].T,
                cmap=colors,
                vmin=lowest,
                vmax=highest,
                origin="lower",
                aspect=spacing[1] / spacing[0],
            )
            axis.set_title(title, fontsize=8)
        row[0].contour(changed[x, y, center[2]].T, levels=[0.5], colors="red", linewidths=0.5)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=65)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="CT,LABELS,KIND")
    parser.add_argument("--radius", type=float, default=10.0, help="mm")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--png", type=Path)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    pictures = []
    for seed, case in enumerate(args.cases):
        row, picture = read(case, seed, args)
        pictures.append(picture)
        print(*(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), sep=" | ", flush=True)
    if args.png:
        save_picture(args.png, pictures)


if __name__ == "__main__":
    main()
