"""What all commands that make images share: tell the need, show progress, write image, latents and record."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from maisi.commands.console import ProgressBar, print_notes
from maisi.errors import InputError
from maisi.outputs.record import write_record
from maisi.outputs.targets import Output, check_array_file, numbered, write_array
from maisi.request import HOW, Inputs, Request, read_inputs, run


@dataclass(frozen=True)
class Wanted:
    """What to write. ``samples``: how many images, with seeds one after the other. ``latents``: file for them."""

    output: Output
    samples: int = 1
    latents: Path | None = None

    def of(self, seed: int) -> Wanted:
        """The files of one of several samples."""
        return Wanted(self.output.numbered(seed), 1, self.latents and numbered(self.latents, seed))

    def check(self, request: Request, inputs: Inputs) -> None:
        """Raise InputError, before the work starts, for what could not be written after it."""
        self.output.check(request.files.values(), inputs.grid, inputs.labels)
        if self.latents is not None:
            check_array_file(self.latents, request.files.values())


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``-o`` and ``--format``."""
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help=".nii, .nii.gz, .nrrd, .mha, or a folder/ for DICOM"
    )
    parser.add_argument("--format", choices=("auto", "dicom"), default="auto", help="default: by the name's ending")


def read_wanted(given: argparse.Namespace) -> Wanted:
    """What the arguments of :func:`add_output_arguments` (and ``--samples``, ``--save-latents``) ask for."""
    output = Output.named(given.output, given.format == "dicom")
    samples = getattr(given, "samples", 1)
    if not 1 <= samples <= 1000:
        raise InputError(f"The number of samples must be from 1 to 1000, got {samples}.")
    return Wanted(output, samples, getattr(given, "save_latents", None))


def make(request: Request, wanted: Wanted) -> None:
    """Read the files of ``request`` and make its images, one for each seed."""
    inputs = read_inputs(request)
    seeds = range(request.options.seed, request.options.seed + wanted.samples)
    each = [(request.with_seed(seed), wanted.of(seed) if wanted.samples > 1 else wanted) for seed in seeds]
    for one, place in each:
        place.check(one, inputs)
    tell_need(request, inputs)
    for one, place in each:
        make_one(one, inputs, place)


def make_one(request: Request, inputs: Inputs, wanted: Wanted):
    """Make one image and write what is wanted; tell notices and quality check. Returns the SynthesisResult."""
    from maisi.models.variants import get_variant
    from maisi.outputs.origin import Origin

    with ProgressBar() as progress:
        result = run(request, inputs, progress)
    info = result.info
    kind, how = get_variant(info["model"]).image, HOW[request.command]
    origin = Origin(kind, info["model"], info["seed"], info["model_sha256"], how)
    wanted.output.write(result.image, origin, inputs.labels)
    write_record(wanted.output.record, wanted.output.path, request, inputs.checksums, result)
    if wanted.latents is not None:
        write_array(wanted.latents, result.latents)
    print_notes(info["notices"])
    passed = sum(reading["passed"] for reading in info["checks"])
    check = f"; {passed} of {len(info['checks'])} organs in HU range" if info["checks"] else ""
    print(f"Wrote {wanted.output.path} in {info['seconds']:.0f} s{check}.")
    return result


def tell_need(request: Request, inputs: Inputs) -> None:
    """Say on stderr what the job will need."""
    from maisi.planning import plan

    options = request.options
    expected = plan(inputs.grid.shape, inputs.grid.affine, options)
    size = " x ".join(map(str, expected.model_shape))
    needs = f"about {expected.memory_gb:.1f} GB of memory and {expected.seconds:.0f} s"
    print(f"Model {options.model} on {expected.device} in {expected.precision}, grid {size}: {needs}.", file=sys.stderr)
