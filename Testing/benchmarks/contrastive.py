"""What the region-specific contrastive loss does to lesions: a new class learned with lambda 0 and with lambda 0.01.

    python Testing/benchmarks/contrastive.py [--cases N] [--steps N] [--lambdas 0 0.01] [--folder DIR] [--json FILE]

Phantoms with one lesion each in the liver, of a class that no network knows, are prepared; the embedded
model's ControlNet is tuned on them once for each lambda, with the same seed, and becomes a model; held-out phantoms are
synthesized with it, with and without their lesion, from the same noise. Everything goes through the commands that a
user would type. The paper (MAISI-v2) finds lesions easier to segment with the loss.

Columns: the lesion's change of HU, as a part of the true one (1 = right); Dice of the voxels that changed by more than
half of the true change with the lesion; mean absolute change of HU more than 12 mm away from it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from maisi.cli import main as maisi
from maisi.errors import MaisiError
from maisi.files import write_volume
from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.new_classes import NewClass, learn
from maisi.synthesis import synthesize
from maisi.train.embedded.render import render_pair
from maisi.volume import ImageVolume, LabelVolume

SHAPE, SPACING = (96, 64, 32), (4.0, 4.0, 4.0)
KNOWN, NEW = 26, 193  # rendered as a hepatic tumor; the new id has bits of liver and body, and no tumor's
TRAINING, HELD_OUT = 20_000_000, 30_000_000  # first seeds
SEEDS = (1, 2)
CLASS = NewClass(NEW, "phantom lesion", (1,))


def make_pair(seed: int) -> tuple[list[LabelVolume], list[ImageVolume]]:
    """Label maps and CTs of a phantom without and with its lesion."""
    rng = np.random.default_rng(seed)
    before = phantom(seed, SHAPE, SPACING, center_z=rng.uniform(-60, -40))
    after = add_lesion(before, random_lesion(before, KNOWN, rng, radius_mm=rng.uniform(9, 18)))
    images = render_pair(before, after, rng)
    named = LabelVolume(np.where(after.array == KNOWN, NEW, after.array).astype(np.uint8), after.affine)
    return [before, named], list(images)


def prepare(folder: Path, cases: int) -> Path:
    """A prepared data set of ``cases`` phantoms with lesions, a tenth of them held out."""
    entries = []
    for index in range(cases):
        labels, images = make_pair(TRAINING + index)
        paths = [folder / f"case{index}_{kind}.nii.gz" for kind in ("ct", "labels")]
        for path, volume in zip(paths, (images[1], labels[1]), strict=True):
            write_volume(path, volume, "phantom")
        entries.append({"image": paths[0].name, "label": paths[1].name, "fold": int(index >= max(1, cases // 10))})
    (folder / "data.json").write_text(json.dumps({"training": entries}))
    prepared = folder / "prepared"
    sizes = ("--multiple", 16, "--copies", "none", "--min-slices", 16, "--spacing", *SPACING)
    lesion = ("--new-label", f"{CLASS.name}={NEW}:liver")
    run("prepare", folder / "data.json", "-o", prepared, "--model", "embedded", *sizes, *lesion)
    return prepared


def tune(folder: Path, prepared: Path, weight: float, steps: int) -> str:
    """The name of a model whose ControlNet was tuned with ``weight`` as lambda."""
    name = f"lambda-{weight}"
    config = {
        "stage": "controlnet",
        "run": {"steps": steps, "device": "cpu", "validate_every": 0, "ema": 0.98},
        "optimizer": {"learning_rate": 2e-4, "warmup_steps": 20},
        "data": {"prepared": str(prepared), "crop": [12, 12, 8], "lesion_crop": 1.0},
        "network": {"model": "embedded", "weights": dict.fromkeys(("autoencoder", "unet", "controlnet"), "model")},
        "controlnet": {"contrastive": {"weight": weight, "later_weight": weight / 10}},
    }
    (folder / f"{name}.json").write_text(json.dumps(config))
    run("train", folder / f"{name}.json", "--run", folder / name, "--launcher", "here")
    run("train", "export", folder / name, "--name", name, "--replace")
    return name


def measure(model: str, cases: int) -> np.ndarray:
    """``[cases * seeds, 3]``: contrast, Dice, change elsewhere (see the module)."""
    rows = []
    for index in range(cases):
        labels, truth = make_pair(HELD_OUT + index)
        lesion = labels[1].array == NEW
        true = (truth[1].array[lesion].astype(float) - truth[0].array[lesion]).mean()
        away = ndimage.distance_transform_edt(~lesion, sampling=SPACING) > 12
        away &= labels[0].array > 0
        for seed in SEEDS:
            without, with_it = (synthesize(one, model=model, seed=seed).image.array.astype(float) for one in labels)
            change = ndimage.gaussian_filter(with_it - without, 0.5)
            found = change / true > 0.5
            dice = 2 * (found & lesion).sum() / (found.sum() + lesion.sum())
            rows.append((change[lesion].mean() / true, dice, np.abs(with_it - without)[away].mean()))
    return np.array(rows)


def run(*words: object) -> None:
    """``maisi words``; ends this program if it fails."""
    if maisi([str(word) for word in words]):
        raise MaisiError(f"maisi {words[0]} failed")


def main() -> None:
    """Make, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--held-out", type=int, default=6)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lambdas", type=float, nargs="+", default=[0.0, 0.01])
    parser.add_argument("--folder", type=Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["MAISI_MODELS"] = str(folder / "models")
        prepared = prepare(folder, options.cases)
        learn([CLASS])
        results = {"untuned": measure("embedded", options.held_out)}
        for weight in options.lambdas:
            begin = time.monotonic()
            model = tune(folder, prepared, weight, options.steps)
            minutes = (time.monotonic() - begin) / 60
            results[f"{weight} ({minutes:.0f} min)"] = measure(model, options.held_out)
    print(f"{'lambda':>16} {'contrast':>16} {'Dice':>16} {'HU elsewhere':>16}")
    for name, rows in results.items():
        cells = (f"{m:7.2f} +- {s:5.2f}" for m, s in zip(rows.mean(0), rows.std(0), strict=True))
        print(f"{name:>16} {' '.join(f'{cell:>16}' for cell in cells)}")
    if options.json:
        rows = {name: found.tolist() for name, found in results.items()}
        options.json.write_text(json.dumps({"steps": options.steps, "cases": options.cases, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
