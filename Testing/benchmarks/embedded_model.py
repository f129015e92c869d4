"""How good is a model? Organs, lesions and background on label maps that no training has seen.

    python Testing/benchmarks/embedded_model.py [--model embedded] [--labels DIR] [--cases N] [--json FILE] [--png FILE]

Half of the cases (all, without ``--labels``) are phantoms, the rest are deformed maps from ``DIR``; all from seeds that
the training recipe does not use. Each case is synthesized without and with its lesions, from the same noise.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from maisi.body import with_body
from maisi.checks.hu import check_hu
from maisi.editing import edit
from maisi.files import read_labels
from maisi.labels import LABELS, LESIONS
from maisi.masks.lesion import RADIUS_MM, add_lesion, random_lesion
from maisi.synthesis import synthesize
from maisi.train.cases import make_labels
from maisi.volume import ImageVolume, LabelVolume

HELD_OUT = 10_000_000  # first seed of this benchmark; training recipes stay below
KINDS = (23, 24, 26, 27, 128, 129)
SIGN = {23: 1, 24: -1, 26: -1, 27: 1, 128: -1, 129: -1}  # brighter or darker than the host in portal-venous CT


def held_out_case(index: int, maps: list[LabelVolume]) -> tuple[LabelVolume, LabelVolume]:
    """Label maps without and with one lesion of each kind that fits, none overlapping another."""
    seed = HELD_OUT + index
    source = [maps[(index // 2) % len(maps)]] if maps and index % 2 else []
    before, _ = make_labels(seed, source, phantom_share=0.0 if source else 1.0)
    rng = np.random.default_rng((seed, 7))
    after = before
    for kind in KINDS:
        if np.isin(before.array, LABELS[kind].hosts).sum() > 60:
            low, high = RADIUS_MM[kind]
            lesion = random_lesion(before, kind, rng, radius_mm=rng.uniform(max(7.5, low), high))
            candidate = add_lesion(before, lesion)
            free = (candidate.array == kind) & (after.array == before.array)
            after = LabelVolume(np.where(free, kind, after.array).astype(np.uint8), after.affine)
    return before, after


def read_lesions(before: ImageVolume, after: ImageVolume, labels: LabelVolume) -> list[dict]:
    """Mean HU change inside each lesion, eroded by one voxel, for lesions whose core has at least 4 voxels."""
    readings = []
    for kind in LESIONS:
        parts, count = ndimage.label(labels.array == kind)
        for part in range(1, count + 1):
            mask = parts == part
            core = ndimage.binary_erosion(mask)
            if core.sum() < 4:
                continue
            change = after.array[core].mean() - before.array[core].mean()
            diameter = 2 * (3 * mask.sum() * np.prod(labels.spacing) / (4 * np.pi)) ** (1 / 3)
            row = {"kind": LABELS[kind].name, "diameter_mm": float(diameter), "change_hu": float(change)}
            readings.append({**row, "right_sign": bool(np.sign(change) == SIGN.get(kind, -1))})
    return readings


def run(args: argparse.Namespace) -> dict:
    """All readings of all cases."""
    maps = (
        [with_body(read_labels(p))[0] for p in sorted(args.labels.rglob("label_maisi.nii.gz"))] if args.labels else []
    )
    organs, lesions, background, seconds = [], [], [], []
    for index in range(args.cases):
        before, after = held_out_case(index, maps)
        start = time.perf_counter()
        first = synthesize(before, model=args.model, steps=args.steps, seed=index).image
        seconds.append(time.perf_counter() - start)
        edited = edit(first, before, after, model=args.model, steps=args.steps, seed=index)
        far = ndimage.distance_transform_edt(before.array == after.array, sampling=before.spacing) > 8.0
        background.append(int(np.abs(edited.image.array[far].astype(int) - first.array[far]).max()))
        organs += [{"case": index, **vars(r)} for r in check_hu(first, before)]
        found = read_lesions(first, edited.image, after)
        lesions += [{"case": index, **row} for row in found]
        print(
            index, before.spacing.round(1), [(r["kind"], round(r["diameter_mm"]), round(r["change_hu"])) for r in found]
        )
        if args.png and index < 6:
            save_picture(args.png.with_stem(f"{args.png.stem}_{index}"), first, edited.image, before, after)
    return {"organs": organs, "lesions": lesions, "background": background, "seconds": seconds}


def summarize(data: dict) -> dict:
    """The figures of the model card."""
    large = [r for r in data["lesions"] if r["diameter_mm"] >= 15]
    kinds = sorted({r["kind"] for r in large})
    names = sorted({r["name"] for r in data["organs"]})
    return {
        "cases": len(data["background"]),
        "organ_readings": len(data["organs"]),
        "organs_in_range": float(np.mean([r["passed"] for r in data["organs"]])),
        "organ_median_hu": {
            n: float(np.median([r["median_hu"] for r in data["organs"] if r["name"] == n])) for n in names
        },
        "organ_pass_rate": {n: float(np.mean([r["passed"] for r in data["organs"] if r["name"] == n])) for n in names},
        "lesions_of_15_mm_or_more": len(large),
        "lesions_right_sign": float(np.mean([r["right_sign"] for r in large])) if large else None,
        "lesion_right_sign_by_kind": {
            k: float(np.mean([r["right_sign"] for r in large if r["kind"] == k])) for k in kinds
        },
        "lesion_mean_change_hu": {k: float(np.mean([r["change_hu"] for r in large if r["kind"] == k])) for k in kinds},
        "largest_difference_outside_the_margin_hu": max(data["background"]),
        "median_seconds_per_synthesis": float(np.median(data["seconds"])),
    }


def save_picture(path: Path, first: ImageVolume, edited: ImageVolume, before: LabelVolume, after: LabelVolume) -> None:
    """Label map, CT without, CT with lesions, in an axial and a coronal slice through the largest lesion."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    changed = np.argwhere(before.array != after.array)
    _, j, k = changed[len(changed) // 2] if len(changed) else np.array(before.shape) // 2
    figure, axes = plt.subplots(2, 4, figsize=(16, 8))
    for row, cut in zip(axes, ((slice(None), slice(None), k), (slice(None), j, slice(None))), strict=True):
        row[0].imshow(after.array[cut].T % 61, cmap="nipy_spectral", origin="lower", interpolation="nearest")
        for axis, image in zip(row[1:3], (first, edited), strict=True):
            axis.imshow(image.array[cut].T, cmap="gray", vmin=-160, vmax=240, origin="lower")
        row[3].imshow(edited.array[cut].T, cmap="gray", vmin=-1000, vmax=400, origin="lower")
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=50)
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--labels", type=Path, help="folder with label_maisi.nii.gz files")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--json", type=Path, help="write all readings and the summary here")
    parser.add_argument("--png", type=Path, help="write pictures of the first cases: NAME_0.png ...")
    args = parser.parse_args()
    data = run(args)
    summary = summarize(data)
    print(json.dumps(summary, indent=2))
    if args.json:
        args.json.write_text(json.dumps({"summary": summary, **data}, indent=2))


if __name__ == "__main__":
    main()
