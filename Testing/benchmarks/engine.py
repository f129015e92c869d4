"""The engine against the reference's plain loop: full-size rflow-ct networks, random weights, same noise.

python Testing/benchmarks/engine.py [--size 96 96 96] [--steps 30] [--runs 3] [--device cpu] [--threads 2]
                                    [--precision float32] [--window 18 18 18] [--overlap 0.6666] [--memory]

Both sides alternate in one process; each figure is the median over the runs. The reference's window is its shipped
default (48^3 latents with an overlap of 0.6666 for an image of 256^3) in proportion to the size, unless given.
``--memory`` runs each side once more in a process of its own and tells its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reference_loop import ReferenceLoop
from helpers.released_model import SCALE_FACTOR
from helpers.small_variants import write_small_variant
from maisi.engine import make_image
from maisi.masks.phantom import phantom
from maisi.models.variants import get_variant
from maisi.models.weights import load_state
from maisi.options import Options
from maisi.planning import plan
from maisi.sampling.sampler import Start
from maisi.volume import LabelVolume

MODEL = "full-rflow-ct"
SPACING = 1.5


class Ours:
    """Our engine, with the times of its stages told by its progress."""

    def __init__(self, args: argparse.Namespace, labels: LabelVolume, noise: np.ndarray) -> None:
        self.options = Options(model=MODEL, steps=args.steps, device=args.device, precision=args.precision)
        self.labels, self.start = labels, Start(noise)
        self.plan = plan(labels.shape, labels.affine, self.options)

    def __call__(self) -> tuple[np.ndarray, dict[str, float]]:
        events = []

        def progress(stage: str, step: int, total: int) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            events.append((stage, time.perf_counter()))

        started = time.perf_counter()
        made = make_image(self.plan, self.labels, self.options, self.start, progress, lambda: False)
        ended = time.perf_counter()
        loaded = next(t for stage, t in reversed(events) if stage == "load")
        steps = [t for stage, t in events if stage == "sample"]
        times = {
            "denoise step": float(np.median(np.diff(steps))),
            "whole denoise, mask embedding included": steps[-1] - loaded,
            "decode": ended - steps[-1],
            "end to end": ended - started,
        }
        return (made.latents, made.image.array), times


class Reference:
    """The plain loop."""

    def __init__(self, args: argparse.Namespace, labels: LabelVolume, noise: np.ndarray) -> None:
        variant = get_variant(MODEL)
        states = {role: load_state(variant, role).state for role in variant.networks}
        device = torch.device(args.device)
        self.loop = ReferenceLoop(variant.networks, states, SCALE_FACTOR, device, args.window, args.overlap)
        self.labels, self.noise, self.steps = labels, torch.from_numpy(noise)[None], args.steps

    def __call__(self) -> tuple[np.ndarray, dict[str, float]]:
        started = time.perf_counter()
        *image, times = self.loop.run(self.labels.array, self.labels.spacing, self.noise, self.steps)
        return (image[0].numpy(), image[1]), {
            "denoise step": float(np.median(times.steps)),
            "whole denoise, mask embedding included": times.denoise,
            "decode": times.decode,
            "end to end": time.perf_counter() - started,
        }

    def whole(self, latents: torch.Tensor, labels: np.ndarray) -> np.ndarray:
        """HU of ``latents`` decoded at once by the reference's network."""
        return self.loop.to_hu(self.loop.at_once(latents), labels)


def main() -> None:
    """Command line."""
    args = arguments()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MAISI_MODELS", folder)
        if args.only is None:
            write_small_variant(Path(os.environ["MAISI_MODELS"]), "rflow-ct", full=True)
        labels = phantom(seed=0, shape=tuple(args.size), spacing=(SPACING,) * 3)
        noise = np.random.default_rng(0).standard_normal((4, *(n // 4 for n in args.size))).astype(np.float16)
        sides = {"reference": Reference, "ours": Ours}
        if args.only is not None:
            sides[args.only](args, labels, noise.astype(np.float32))()
            print(json.dumps(peak_gb(args)))
            return
        compare(args, {name: side(args, labels, noise.astype(np.float32)) for name, side in sides.items()})
        if args.memory:
            peaks = {name: own_process(name) for name in sides}
            print_row("peak memory, GB", peaks["reference"], peaks["ours"])


def compare(args: argparse.Namespace, sides: dict) -> None:
    """Run both sides in turn and print the table."""
    times: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    results = {}
    for run in range(args.runs + 1):  # the first also loads and warms up, and is not counted
        for name, side in sides.items():
            results[name], taken = side()
            if run or args.runs == 0:
                times[name].append(taken)
    ours = sides["ours"].plan
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{args.threads} threads"
    print(f"{' x '.join(map(str, args.size))} voxels, {args.steps} steps, {args.device} ({where}), {ours.precision}")
    decoding = f"exact tiles of {ours.decoding.size} latents" if ours.decoding else "whole"
    print(f"decoding: reference in windows of {args.window} latents, overlap {args.overlap}; ours {decoding}")
    print(f"{'':42} {'reference':>10} {'ours':>10} {'ratio':>7}")
    for row in times["ours"][0]:
        print_row(row, *(float(np.median([t[row] for t in times[name]])) for name in ("reference", "ours")))
    (reference, _), (latents, image) = results["reference"], results["ours"]
    reference = reference / SCALE_FACTOR
    relative = np.abs(latents - reference).max() / np.abs(reference).max()
    print(f"latents: largest difference {relative:.1e} of the largest value")
    whole = sides["reference"].whole(torch.from_numpy(latents)[None], sides["ours"].labels.array)
    print(
        f"image: largest difference {np.abs(image - whole).max():.2f} HU from the reference's networks without windows"
    )


def print_row(name: str, reference: float, ours: float) -> None:
    """One line of the table."""
    print(f"{name:42} {reference:10.2f} {ours:10.2f} {reference / ours:7.2f}", flush=True)


def own_process(side: str) -> float:
    """Peak memory in GB of one run of ``side`` in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", side]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def peak_gb(args: argparse.Namespace) -> float:
    """Of this process so far: on the GPU, or resident in memory."""
    if args.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1024**3
    # Not from getrusage: on Linux its peak begins with that of the parent. This file is Linux', too.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024**2


def arguments() -> argparse.Namespace:
    """Those of the command line, the window filled in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--window", type=int, nargs=3)
    parser.add_argument("--overlap", type=float, default=0.6666)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", choices=("reference", "ours"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    # A multiple of 4: the reference computes in 4 slabs, and loses voxels where they do not divide the window.
    args.window = args.window or [round(n * 12 / 256) * 4 for n in args.size]
    return args


if __name__ == "__main__":
    main()
