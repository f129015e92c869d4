"""How many network calls does a solver need? Distance to a very fine solution from the same noise, on one model.

python Testing/benchmarks/solvers.py [--model embedded] [--cases 2] [--size 96] [--threads 2]

Columns: root mean square difference of the latents to the fine solution, relative to their standard deviation; mean
absolute difference in HU inside the body; and of the mean HU of the lesion.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from maisi.masks.lesion import add_lesion, random_lesion
from maisi.masks.phantom import phantom
from maisi.synthesis import synthesize
from maisi.volume import LabelVolume

FINE = ("heun", 60)
TRIED = (
    ("euler", 10, 10),
    ("euler", 20, 20),
    ("euler", 30, 30),
    ("adams-bashforth", 6, 6),
    ("adams-bashforth", 8, 8),
    ("adams-bashforth", 10, 10),
    ("adams-bashforth", 12, 12),
    ("adams-bashforth", 15, 15),
    ("heun", 4, 7),
    ("heun", 6, 11),
    ("heun", 8, 15),
)
TUMOR = 26


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--size", type=int, default=96, help="voxels along each axis, of 3 mm")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = {tried: [] for tried in TRIED}
    for case in range(args.cases):
        labels = case_with_tumor(case, args.size)
        fine = run(labels, args.model, case, *FINE)
        for tried in TRIED:
            rows[tried].append(compare(run(labels, args.model, case, *tried[:2]), fine, labels))
    print(f"{args.model}, {args.cases} cases of {args.size}^3 voxels; fine solution: {FINE[0]}, {FINE[1]} steps")
    print(f"{'solver':16} {'steps':>5} {'calls':>5} {'latents':>9} {'HU':>7} {'lesion HU':>9}")
    for (solver, steps, calls), values in rows.items():
        latents, hu, lesion = np.mean(values, axis=0)
        print(f"{solver:16} {steps:5d} {calls:5d} {latents:9.4f} {hu:7.2f} {lesion:9.2f}")


def case_with_tumor(seed: int, size: int) -> LabelVolume:
    """A phantom with one tumor in the liver."""
    labels = phantom(seed=seed, shape=(size,) * 3, spacing=(3.0,) * 3)
    return add_lesion(labels, random_lesion(labels, TUMOR, np.random.default_rng(seed), radius_mm=15))


def run(labels: LabelVolume, model: str, seed: int, solver: str, steps: int):
    """One synthesis in float32 on the clean time grid."""
    return synthesize(
        labels, model=model, seed=seed, solver=solver, steps=steps, time_grid="clean", precision="float32"
    )


def compare(result, fine, labels: LabelVolume) -> tuple[float, float, float]:
    """The three figures of a row."""
    difference = result.latents - fine.latents
    hu = result.image.array.astype(float) - fine.image.array
    lesion = hu[labels.array == TUMOR]
    return (
        float(np.sqrt((difference**2).mean()) / fine.latents.std()),
        float(np.abs(hu[labels.array > 0]).mean()),
        float(abs(lesion.mean())) if lesion.size else 0.0,
    )


if __name__ == "__main__":
    main()
