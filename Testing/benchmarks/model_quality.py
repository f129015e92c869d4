"""How good are models? The same held-out cases for each of them, in one run.

    python Testing/benchmarks/model_quality.py --models embedded mine --maps MAP.nii.gz ... --real CT.nii.gz ...
        [--cases 12] [--work DIR] [--json FILE] [--png FILE]

The label maps are phantoms and deformed MAPS, from seeds that no training uses; MAPS should not be in the training
either. Each case is synthesized without and with one lesion of each kind that fits, and rendered as the teacher of the
embedded model does (portal-venous). Printed for each model:

- organ readings (``maisi check``) in the range of real CTs;
- error of organ medians against the rendering of the same map, in HU: median over readings, and the bias of each organ;
- lesions of 10 mm or more: right sign of the contrast to the organ around them, and within 40 % of the median contrast
  of that kind in the renderings; Dice of a threshold;
- FID of the synthetic CTs with lesions to the renderings and to REAL, resampled to 3 mm, central half of the slices, in
  the window of -1000 to 1000 HU and in that of soft tissue; beside it that of the renderings to REAL. There are few
  slices, so only compare values of one run;
- the largest difference outside the blended margin of the edit that put the lesions in, in HU.

``--work`` keeps the volumes and goes on with those that are there. The figures in the README are of 12 cases with, as
MAPS, the label map of TotalSegmentator's example CT, and as REAL that CT, CRLM-CT-1004 (TCIA) and 3D Slicer's CTChest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from maisi.body import with_body
from maisi.checks.fidelity import read_lesions
from maisi.checks.hu import BANDS, check_hu, organ_values
from maisi.commands.console import print_rows
from maisi.editing import MARGIN_MM, edit
from maisi.evaluate.feature_cache import Extractor
from maisi.evaluate.fid import fid
from maisi.evaluate.fidelity import MIN_MM, expected_contrasts, fidelity_report
from maisi.evaluate.hu import summarize
from maisi.evaluate.report import number, share
from maisi.evaluate.slices import SliceSettings
from maisi.files import read_image, read_labels, write_json, write_volume
from maisi.labels import LABELS, TUMORS
from maisi.masks.lesion import RADIUS_MM, add_lesion, random_lesion
from maisi.outputs.record import software
from maisi.synthesis import synthesize
from maisi.train.embedded.cases import make_labels
from maisi.train.embedded.render import render_pair
from maisi.volume import ImageVolume, LabelVolume

HELD_OUT = 10_000_000  # first seed of this benchmark; training recipes stay below
SOFT = ("liver", "spleen", "pancreas", "kidney", "muscle")
SLICES = {  # what the FID looks at: as the paper, and the texture of soft tissue
    "wide": SliceSettings(spacing=(3.0, 3.0, 3.0), center=0.5),
    "soft tissue": SliceSettings(spacing=(3.0, 3.0, 3.0), center=0.5, window=(-160.0, 240.0)),
}
SMALLEST_HOST = 60  # voxels


@dataclass(frozen=True)
class Case:
    """Label maps without and with lesions, and their renderings."""

    name: str
    before: LabelVolume
    after: LabelVolume
    rendered: tuple[ImageVolume, ImageVolume]


def held_out_case(index: int, maps: dict[str, LabelVolume]) -> Case:
    """Every second case is a phantom; all are where there are no maps."""
    seed = HELD_OUT + index
    before, _, _ = make_labels(seed, maps, phantom_share=float(not maps or index % 2 == 0))
    rng = np.random.default_rng((seed, 7))
    after = before
    for kind in TUMORS:
        if np.isin(before.array, LABELS[kind].hosts).sum() > SMALLEST_HOST:
            low, high = RADIUS_MM[kind]
            lesion = random_lesion(before, kind, rng, radius_mm=rng.uniform(max(7.5, low), high))
            free = (add_lesion(before, lesion).array == kind) & (after.array == before.array)
            after = LabelVolume(np.where(free, kind, after.array).astype(np.uint8), after.affine)
    return Case(f"{index:03d}", before, after, render_pair(before, after, np.random.default_rng((seed, 1))))


def images_of(case: Case, model: str, steps: int | None, folder: Path) -> tuple[ImageVolume, ImageVolume, float]:
    """The model's CTs without and with the lesions, and seconds of the first (NaN where it was made before)."""
    paths = [folder / kind / f"{case.name}.nii.gz" for kind in ("without", "with")]
    if all(path.is_file() for path in paths):
        return read_image(paths[0]), read_image(paths[1]), float("nan")
    settings = {"model": model, "steps": steps, "seed": int(case.name)}
    start = time.perf_counter()
    first = synthesize(case.before, **settings).image
    seconds = time.perf_counter() - start
    second = edit(first, case.before, case.after, **settings).image
    for path, image in zip(paths, (first, second), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, image)
    return first, second, seconds


def measure(model: str, cases: Sequence[Case], expected: dict[int, float], args: argparse.Namespace) -> dict:
    """All figures of one model but for the FID."""
    readings, errors, lesions, outside, seconds = [], [], [], [], []
    for case in cases:
        first, second, took = images_of(case, model, args.steps, args.work / model)
        readings.append(check_hu(first, case.before))
        errors += organ_errors(first, case)
        lesions.append((case.name, read_lesions(second, case.after)))
        far = ndimage.distance_transform_edt(case.before.array == case.after.array, case.before.spacing) > MARGIN_MM
        outside.append(int(np.abs(second.array[far].astype(int) - first.array[far]).max()))
        seconds.append(took)
        if args.png and int(case.name) < 6:
            save_picture(args.png.with_stem(f"{args.png.stem}_{model}_{case.name}"), case, first, second)
        print(f"{model} {case.name}: {case.before.spacing.round(1)} mm, {len(lesions[-1][1])} lesions", flush=True)
    report = fidelity_report({"model": model}, lesions, expected, MIN_MM)
    soft = [abs(error["error_hu"]) for error in errors if error["organ"] in SOFT]
    organs = sorted({error["organ"] for error in errors})
    return {
        "hu": summarize(readings),
        "soft_organ_error_hu": float(np.median(soft)),
        "organ_bias_hu": {o: float(np.median([e["error_hu"] for e in errors if e["organ"] == o])) for o in organs},
        "lesions": report.result["lesions"],
        "outside_the_margin_hu": max(outside),
        "median_seconds": float(np.nanmedian(seconds)) if np.isfinite(seconds).any() else None,
        "details": {
            "organ_errors": errors,
            "lesions": report.result["details"],
            "hu": [[asdict(r) for r in c] for c in readings],
        },
    }


def organ_errors(image: ImageVolume, case: Case) -> list[dict]:
    """Median HU of each organ, less that of the rendering of the same map."""
    ids = [band.ids for band in BANDS]
    pairs = zip(
        BANDS, organ_values(image, case.before, ids), organ_values(case.rendered[0], case.before, ids), strict=True
    )
    return [
        {"case": case.name, "organ": band.name, "error_hu": float(np.median(values) - np.median(wanted))}
        for band, values, wanted in pairs
        if values.size >= band.min_voxels
    ]


def distances(args: argparse.Namespace, cases: Sequence[Case]) -> dict:
    """FID of each model and of the renderings: window -> set -> set it is compared with -> result."""
    sets = {"renderings": [args.work / "rendered" / f"{case.name}.nii.gz" for case in cases]}
    for path, case in zip(sets["renderings"], cases, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, case.rendered[1])
    sets |= {model: [args.work / model / "with" / f"{case.name}.nii.gz" for case in cases] for model in args.models}
    found: dict = {}
    for window, settings in SLICES.items():
        extractor = Extractor(args.network, settings, args.work / "features", "auto")
        found[window] = {name: {} for name in sets}
        for name, files in sets.items():
            if name != "renderings":
                found[window][name]["renderings"] = fid(sets["renderings"], files, extractor)
            if args.real:
                found[window][name]["real CTs"] = fid(args.real, files, extractor)
    return found


def table(found: dict[str, dict], fids: dict) -> list[tuple[str, ...]]:
    """A row for each figure, a column for each model."""
    models = list(found)
    kinds = sorted({kind for one in found.values() for kind in one["lesions"]} - {"all"})
    organs = sorted({organ for one in found.values() for organ in one["organ_bias_hu"]})

    def row(name: str, value) -> tuple[str, ...]:
        return name, *(value(found[model]) for model in models)

    def lesion(kind: str, what: str, of: str):
        return lambda one: (
            share(one["lesions"][kind][what], one["lesions"][kind][of]) if kind in one["lesions"] else "-"
        )

    rows = [("", *models)]
    rows.append(row("organ readings in range", lambda one: share(one["hu"]["in_range"], one["hu"]["readings"])))
    rows.append(row("soft organs, median error HU", lambda one: number(one["soft_organ_error_hu"])))
    for organ in organs:
        rows.append(row(f"  {organ}, bias HU", lambda one, o=organ: number(one["organ_bias_hu"].get(o))))
    for kind in ("all", *kinds):
        rows.append(row(f"{kind}, right sign", lesion(kind, "right_sign", "count")))
        rows.append(row(f"{kind}, within 40%", lesion(kind, "right_size", "sized")))
    for kind in kinds:
        contrast = lambda one, k=kind: "/".join(number(one["lesions"][k][n], 0) for n in ("contrast_hu", "expected_hu"))  # noqa: E731
        rows.append(row(f"{kind}, contrast HU / expected", contrast))
    rows.append(row("lesions, Dice of a threshold", lambda one: number(one["lesions"]["all"]["dice"], 2)))
    rows.append(row("outside the margin HU", lambda one: str(one["outside_the_margin_hu"])))
    rows.append(row("seconds for a case", lambda one: number(one["median_seconds"])))
    return rows + _fid_rows(models, fids)


def _fid_rows(models: list[str], fids: dict) -> list[tuple[str, ...]]:
    rows = []
    for window, sets in fids.items():
        for target in sets[models[0]]:
            results = [sets[model][target] for model in models]
            yardstick = sets["renderings"].get(target)
            told = f", renderings {number(yardstick['fid']['mean'])}" if yardstick else ""
            name = f"FID to {target}, {window} ({results[0]['network']}{told})"
            rows.append((name, *(number(result["fid"]["mean"]) for result in results)))
    return rows


def save_picture(path: Path, case: Case, first: ImageVolume, second: ImageVolume) -> None:
    """Rendering, CT without and with lesions, in an axial and a coronal slice through a lesion."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    changed = np.argwhere(case.before.array != case.after.array)
    _, j, k = changed[len(changed) // 2] if len(changed) else np.array(case.before.shape) // 2
    figure, axes = plt.subplots(2, 4, figsize=(16, 8))
    for row, cut in zip(axes, ((slice(None), slice(None), k), (slice(None), j, slice(None))), strict=True):
        row[0].imshow(case.rendered[1].array[cut].T, cmap="gray", vmin=-160, vmax=240, origin="lower")
        for axis, image in zip(row[1:3], (first, second), strict=True):
            axis.imshow(image.array[cut].T, cmap="gray", vmin=-160, vmax=240, origin="lower")
        row[3].imshow(second.array[cut].T, cmap="gray", vmin=-1000, vmax=400, origin="lower")
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=50)
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["embedded"])
    parser.add_argument("--maps", type=Path, nargs="*", default=[], help="label maps to deform")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="held-out real CTs")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--network", default="efficientnet-lite0", help="of the FID")
    parser.add_argument("--work", type=Path, help="folder to keep the volumes in")
    parser.add_argument("--json", type=Path, help="write all readings and the summary here")
    parser.add_argument("--png", type=Path, help="write pictures of the first cases: NAME_MODEL_000.png ...")
    args = parser.parse_args()
    args.work = args.work or Path(tempfile.mkdtemp(prefix="maisi-"))
    maps = {path.parent.name: with_body(read_labels(path))[0] for path in args.maps}
    cases = [held_out_case(index, maps) for index in range(args.cases)]
    rendered = [(case.name, read_lesions(case.rendered[1], case.after)) for case in cases]
    expected = expected_contrasts(rendered, MIN_MM)
    found = {model: measure(model, cases, expected, args) for model in args.models}
    fids = distances(args, cases)
    print_rows(table(found, fids))
    if args.json:
        given = {
            key: [*map(str, value)] if isinstance(value, list) else str(value) for key, value in vars(args).items()
        }
        write_json(args.json, {"software": software(), "arguments": given, "models": found, "fid": fids})


if __name__ == "__main__":
    main()
