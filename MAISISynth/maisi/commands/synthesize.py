"""``maisi synthesize`` and ``maisi edit``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

import maisi
from maisi.commands.console import ProgressBar, print_notes
from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError
from maisi.volume import LabelVolume


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``synthesize`` and ``edit``."""
    synthesize = add_command(
        commands, "synthesize", _synthesize, "Make a CT from a label map, on the label map's own grid."
    )
    synthesize.add_argument("labels", metavar="LABELS", help="NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd")
    edit = add_command(
        commands, "edit", _edit, "Synthesize anew where the labels changed; the rest of the CT stays as it is."
    )
    edit.add_argument("ct", metavar="CT")
    edit.add_argument("labels_before", metavar="LABELS_BEFORE")
    edit.add_argument("labels_after", metavar="LABELS_AFTER")
    for made in (synthesize, edit):
        made.add_argument("-o", "--output", required=True, metavar="FILE", help="the CT: .nii, .nii.gz, .nrrd or .mha")
        made.add_argument("--seed", type=int, default=0, help="same seed, same image (default 0)")
        made.add_argument("--steps", type=int, help="network evaluations (default: what the model card says)")
        made.add_argument("--model", default="embedded", help="see: maisi models (default embedded)")
        made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
        add_labels_from(made)


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


def _run(options: argparse.Namespace, labels: LabelVolume, job: Callable) -> None:
    """Tell the estimate, run ``job`` with a progress bar, write its image, tell the notices and the quality check."""
    from maisi.files import write_volume
    from maisi.planning import estimate

    expected = estimate(labels.shape, labels.affine, options.model, options.device, options.steps)
    size = " x ".join(map(str, expected.model_shape))
    needs = f"about {expected.memory_gb:.1f} GB of memory and {expected.seconds:.0f} s"
    print(f"Model {options.model} on {expected.device}, grid {size}: {needs}.", file=sys.stderr)
    with ProgressBar() as progress:
        result = job(
            model=options.model, seed=options.seed, steps=options.steps, device=options.device, progress=progress
        )
    info = result.info
    write_volume(
        options.output, result.image, f"SYNTHETIC CT, MAISI {maisi.__version__}, {info['model']}, seed {info['seed']}"
    )
    print_notes(info["notices"])
    passed = sum(reading["passed"] for reading in info["checks"])
    print(f"Wrote {options.output} in {info['seconds']:.0f} s; {passed} of {len(info['checks'])} organs in HU range.")


def _check_output(output: str, *inputs: str) -> None:
    """Refuse before the work starts, not after."""
    from maisi.files import check_writable

    path = check_writable(output)
    if any(path.exists() and os.path.exists(given) and path.samefile(given) for given in inputs):
        raise InputError(f"{output} is one of the inputs; choose another name for the result.")
