"""Local re-synthesis against the whole image anew: time, likeness, border, background, over many edited lesions.

python Testing/benchmarks/local_edit.py [--model embedded] [--cases 20] [--size 128 128 128] [--spacing 3]
                                        [--diameter 20] [--json FILE] [--png FILE]

Each case: a phantom, its CT, then one lesion put into it. Both ways run in turn in one process. "Likeness" is the RMS
difference between both CTs in the lesion, in units of the RMS change that the lesion makes. "Border" is the gradient
across the outer face of the blended margin, divided by the gradient there before the edit.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from maisi.editing import edit
from maisi.labels import LABELS
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.synthesis import synthesize
from maisi.volume import ImageVolume, LabelVolume

FIRST_SEED = 20_000_000  # training recipes stay below
KINDS = (26, 23, 129, 128)  # liver, lung, kidney and bone, in turn
SIGN = {23: 1, 26: -1, 129: -1, 128: -1}


def an_edit(index: int, args: argparse.Namespace) -> tuple[LabelVolume, LabelVolume, int]:
    """Labels before and after, and the kind of the lesion."""
    before = phantom(FIRST_SEED + index, tuple(args.size), (args.spacing,) * 3, center_z=-40.0)
    kinds = [kind for kind in KINDS[index % 4 :] + KINDS if np.isin(before.array, LABELS[kind].hosts).any()]
    lesion = random_lesion(before, kinds[0], np.random.default_rng(index), radius_mm=args.diameter / 2)
    return before, add_lesion(before, lesion), kinds[0]


def timed(method: str, first: ImageVolume, before: LabelVolume, after: LabelVolume, options: dict):
    """The edited CT, the seconds it took, and its margin in mm."""
    started = time.perf_counter()
    result = edit(first, before, after, method=method, **options)
    return result.image.array.astype(float), time.perf_counter() - started, result.info["margin_mm"]


def read(index: int, args: argparse.Namespace) -> tuple[dict, tuple]:
    """One case."""
    before, after, kind = an_edit(index, args)
    options = {"model": args.model, "seed": index}
    started = time.perf_counter()
    first = synthesize(before, **options).image
    whole = time.perf_counter() - started
    local, local_seconds, margin = timed("local", first, before, after, options)
    full, full_seconds, _ = timed("full", first, before, after, options)
    changed = before.array != after.array
    distance = ndimage.distance_transform_edt(~changed, sampling=before.spacing)
    rim = np.abs(distance - margin) < args.spacing
    old = first.array.astype(float)
    core = ndimage.binary_erosion(changed)
    core = core if core.sum() >= 4 else changed
    row = {
        "kind": LABELS[kind].name,
        "seconds_whole": whole,
        "seconds_full": full_seconds,
        "seconds_local": local_seconds,
        "outside": float(np.abs(local - old)[distance > margin].max()),
        "likeness": float(rms((local - full)[changed]) / rms((full - old)[changed])),
        "border": float(gradient(local)[rim].mean() / gradient(old)[rim].mean()),
        "border_full": float(gradient(full)[rim].mean() / gradient(old)[rim].mean()),
        "change_local": float((local - old)[core].mean()),
        "change_full": float((full - old)[core].mean()),
        "right_sign": bool(np.sign((local - old)[core].mean()) == SIGN[kind]),
    }
    return row, (old, local, full, changed)


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt((values**2).mean()))


def gradient(image: np.ndarray) -> np.ndarray:
    """Magnitude, HU per voxel."""
    return np.linalg.norm(np.gradient(image), axis=0)


def save_picture(path: Path, cases: list[tuple]) -> None:
    """Before, local, full and the difference of local and full, one row a case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(cases), 4, figsize=(13, 3.2 * len(cases)), squeeze=False)
    for row, (old, local, full, changed) in zip(axes, cases, strict=True):
        k = int(np.argwhere(changed)[:, 2].mean())
        lung = old[changed].mean() < -400
        for axis, image, name in zip(row, (old, local, full), ("before", "local", "full"), strict=False):
            low, high = (-1200, 300) if lung else (-110, 240)
            axis.imshow(image[..., k].T, cmap="gray", vmin=low, vmax=high, origin="lower")
            axis.contour(changed[..., k].T, levels=[0.5], colors="red", linewidths=0.4)
            axis.set_title(name)
        row[3].imshow((local - full)[..., k].T, cmap="coolwarm", vmin=-60, vmax=60, origin="lower")
        row[3].set_title("local - full, +-60 HU")
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument("--spacing", type=float, default=3.0)
    parser.add_argument("--diameter", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path, help="picture of the first four cases")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    read(args.cases, args)  # warms up
    rows, pictures = [], []
    for index in range(args.cases):
        row, picture = read(index, args)
        rows.append(row)
        pictures += [picture] if index < 4 else []
        print(index, {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    print(f"{'':16} {'min':>8} {'median':>8} {'max':>8}")
    for name in ("seconds_whole", "seconds_full", "seconds_local", "likeness", "border", "border_full", "outside"):
        values = [row[name] for row in rows]
        print(f"{name:16} {min(values):8.3f} {np.median(values):8.3f} {max(values):8.3f}")
    ratio = np.median([row["seconds_full"] / row["seconds_local"] for row in rows])
    print(f"local is {ratio:.1f} times as fast; right sign in {np.mean([r['right_sign'] for r in rows]):.0%}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))
    if args.png:
        save_picture(args.png, pictures)


if __name__ == "__main__":
    main()
