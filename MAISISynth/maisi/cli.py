"""The command line, ``maisi ...``. Exit codes: 0 done, 1 our fault, 2 bad input (one sentence tells), 130 stopped."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

import maisi
from maisi.errors import Cancelled, InputError, MaisiError
from maisi.labels import SOURCES
from maisi.volume import LabelVolume

# What needs torch is imported by the commands that need it.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (KeyboardInterrupt, Cancelled):
        print("maisi: stopped.", file=sys.stderr)
        return 130
    except MaisiError as error:
        print(f"maisi: {error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print("maisi: this is an error of the program; please report it with the lines above.", file=sys.stderr)
        return 1
    return 0


# ---- commands


def _synthesize(options: argparse.Namespace) -> None:
    from maisi.files import read_labels
    from maisi.synthesis import synthesize

    _check_output(options.output, options.labels)
    labels = read_labels(options.labels, options.labels_from)
    _run(options, labels, lambda **settings: synthesize(labels, **settings))


def _edit(options: argparse.Namespace) -> None:
    from maisi.files import read_image, read_labels
    from maisi.geometry import place_on
    from maisi.synthesis import edit

    _check_output(options.output, options.ct, options.labels_before, options.labels_after)
    image = read_image(options.ct)
    before, after = (
        place_on(read_labels(path, options.labels_from), image)
        for path in (options.labels_before, options.labels_after)
    )
    _run(options, after, lambda **settings: edit(image, before, after, **settings))


def _check(options: argparse.Namespace) -> None:
    from maisi.checks.hu import check_hu, hu_report, hu_table
    from maisi.files import read_image, read_labels
    from maisi.geometry import place_on

    image = read_image(options.ct)
    readings = check_hu(image, place_on(read_labels(options.labels, options.labels_from), image))
    print(json.dumps(hu_report(readings), indent=2) if options.json else hu_table(readings))


def _demo(options: argparse.Namespace) -> None:
    try:
        from MAISISynthLib.Demo import main as demo
    except ModuleNotFoundError as error:
        if error.name not in ("slicer", "vtk", "MAISISynthLib"):
            raise
        raise InputError(
            "The demo needs slicer-core; run it from the source tree after: pip install -e '.[slicer]'."
        ) from error
    demo(options.output)


def _devices(options: argparse.Namespace) -> None:
    from maisi.devices import available_devices

    rows = [(d["name"], d["label"], f"{d['free_gb']:.1f} of {d['total_gb']:.1f} GB free") for d in available_devices()]
    _print_rows(rows)


def _models(options: argparse.Namespace) -> None:
    from maisi.models.variants import variants

    rows = [
        (v.name, v.title, v.image, f"{v.schedule.steps} steps", v.license)
        for v in variants().values()
    ]
    _print_rows(rows or [("no models are installed",)])


# ---- what the two syntheses share


def _run(options: argparse.Namespace, labels: LabelVolume, job: Callable) -> None:
    """Tell the estimate, run ``job`` with a progress bar, write its image, tell the notices and the quality check."""
    from maisi.files import write_volume
    from maisi.planning import estimate

    expected = estimate(labels.shape, labels.affine, options.model, options.device, options.steps)
    size = " x ".join(map(str, expected.model_shape))
    needs = f"about {expected.memory_gb:.1f} GB of memory and {expected.seconds:.0f} s"
    print(f"Model {options.model} on {expected.device}, grid {size}: {needs}.", file=sys.stderr)
    with _Progress() as progress:
        result = job(
            model=options.model, seed=options.seed, steps=options.steps, device=options.device, progress=progress
        )
    info = result.info
    write_volume(
        options.output, result.image, f"SYNTHETIC CT, MAISI {maisi.__version__}, {info['model']}, seed {info['seed']}"
    )
    for notice in info["notices"]:
        print(f"note: {notice}", file=sys.stderr)
    passed = sum(reading["passed"] for reading in info["checks"])
    print(f"Wrote {options.output} in {info['seconds']:.0f} s; {passed} of {len(info['checks'])} organs in HU range.")


def _check_output(output: str, *inputs: str) -> None:
    """Refuse before the work starts, not after."""
    from maisi.files import check_writable

    path = check_writable(output)
    if any(path.exists() and os.path.exists(given) and path.samefile(given) for given in inputs):
        raise InputError(f"{output} is one of the inputs; choose another name for the result.")


class _Progress:
    """A bar on stderr for each stage, called with (stage, step, total)."""

    def __init__(self) -> None:
        self._stage, self._bar = "", None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, step: int, total: int) -> None:
        if stage != self._stage:
            self.__exit__()
            self._stage, self._bar = stage, tqdm(total=total, desc=stage, file=sys.stderr)
        self._bar.update(step - self._bar.n)


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# ---- arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage."""
        self.exit(2, f"maisi: {message} (see: {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="maisi", description="Synthesize CT volumes from label maps. Not for clinical use.")
    parser.add_argument("--version", action="version", version=f"maisi {maisi.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=run)
        return made

    synthesize = command("synthesize", _synthesize, "Make a CT from a label map, on the label map's own grid.")
    synthesize.add_argument("labels", metavar="LABELS", help="NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd")
    edit = command("edit", _edit, "Synthesize anew where the labels changed; the rest of the CT stays as it is.")
    edit.add_argument("ct", metavar="CT")
    edit.add_argument("labels_before", metavar="LABELS_BEFORE")
    edit.add_argument("labels_after", metavar="LABELS_AFTER")
    for made in (synthesize, edit):
        made.add_argument("-o", "--output", required=True, metavar="FILE", help="the CT: .nii, .nii.gz, .nrrd or .mha")
        made.add_argument("--seed", type=int, default=0, help="same seed, same image (default 0)")
        made.add_argument("--steps", type=int, help="network evaluations (default: what the model card says)")
        made.add_argument("--model", default="embedded", help="see: maisi models (default embedded)")
        made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")

    check = command("check", _check, "Compare the median HU of the organs with those of real CTs.")
    check.add_argument("ct", metavar="CT")
    check.add_argument("labels", metavar="LABELS")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for made in (synthesize, edit, check):
        made.add_argument("--labels-from", choices=SOURCES, default="maisi", help="whose ids (default maisi)")

    demo = command("demo", _demo, "Draw a liver lesion, synthesize, move it, synthesize again; write everything.")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder (default demo)")
    command("devices", _devices, "List the devices that can be used.")
    command("models", _models, "List the models.")
    return parser
