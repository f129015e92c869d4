"""How long does one synthesis take, stage by stage?

python Testing/benchmarks/speed.py [--size 128] [--spacing 3] [--runs 3] [--device cpu] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np
import torch

from maisi.masks.phantom import phantom
from maisi.synthesis import synthesize


class _StageClock:
    """A progress callback that books the time since the last event on the event's stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.last = time.perf_counter()

    def __call__(self, stage: str, step: int, total: int) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self.last
        self.last = now


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis")
    parser.add_argument("--spacing", type=float, default=3.0, help="mm")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    labels = phantom(seed=0, shape=(args.size,) * 3, spacing=(args.spacing,) * 3)
    stages: dict[str, list[float]] = defaultdict(list)
    for run in range(args.runs + 1):  # the first also loads the model and is not counted
        clock, begun = _StageClock(), time.perf_counter()
        result = synthesize(labels, seed=run, device=args.device, progress=clock)
        if run:
            for stage, seconds in clock.seconds.items():
                stages[stage].append(seconds)
            stages["whole"].append(time.perf_counter() - begun)
    print(
        f"{args.size}^3 voxels, {result.info['steps']} steps, {args.device}, {args.threads} threads, {args.runs} runs"
    )
    for stage, seconds in stages.items():
        print(f"{stage:8s} median {np.median(seconds):6.2f} s   min {min(seconds):6.2f}   max {max(seconds):6.2f}")


if __name__ == "__main__":
    main()
