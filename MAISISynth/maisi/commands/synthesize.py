"""``maisi synthesize``, ``maisi edit`` and ``maisi generate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.making import add_output_arguments, make, read_wanted
from maisi.commands.options import add_options, read_options
from maisi.commands.parsing import add_command, add_labels_from
from maisi.request import ARRAYS, Request


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``synthesize``, ``edit`` and ``generate``."""
    text = "Make an image from a label map, on the label map's own grid."
    synthesize = add_command(commands, "synthesize", _synthesize, text)
    synthesize.add_argument("labels", metavar="LABELS", type=Path, help="NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd")

    text = "Synthesize anew where the labels changed; the rest of the CT stays as it is."
    edit = add_command(commands, "edit", _edit, text)
    edit.add_argument("image", metavar="CT", type=Path)
    edit.add_argument("before", metavar="LABELS_BEFORE", type=Path)
    edit.add_argument("after", metavar="LABELS_AFTER", type=Path)

    generate = add_command(commands, "generate", _generate, "Make an image without a label map.")
    generate.add_argument("--size", nargs=3, type=int, required=True, metavar=("I", "J", "K"), help="voxels")
    generate.add_argument("--spacing", nargs=3, type=float, required=True, metavar=("X", "Y", "Z"), help="mm")

    for made in (synthesize, edit, generate):
        add_output_arguments(made)
        add_options(made)
    for made in (synthesize, edit):
        add_labels_from(made)
    for made in (synthesize, generate):
        made.add_argument("--save-latents", type=Path, metavar="FILE.npy", help="also write the latents [4, i, j, k]")
        made.add_argument("--samples", type=int, default=1, metavar="N", help="N images, seeds one after the other")
        made.add_argument("--noise", type=Path, metavar="FILE.npy", help="begin from this noise [4, i, j, k]")
        made.add_argument("--latents", type=Path, metavar="FILE.npy", help="begin from these latents; see --strength")
        made.add_argument(
            "--strength", type=float, default=1.0, help="how far back towards noise the latents go, 0 to 1 (default 1)"
        )


def _synthesize(given: argparse.Namespace) -> None:
    files = {"labels": given.labels, **_arrays(given)}
    request = Request("synthesize", read_options(given), files, given.labels_from, strength=given.strength)
    make(request, read_wanted(given))


def _edit(given: argparse.Namespace) -> None:
    files = {"image": given.image, "before": given.before, "after": given.after}
    make(Request("edit", read_options(given), files, given.labels_from), read_wanted(given))


def _generate(given: argparse.Namespace) -> None:
    shape, spacing = tuple(given.size), tuple(given.spacing)
    request = Request(
        "generate", read_options(given), _arrays(given), shape=shape, spacing=spacing, strength=given.strength
    )
    make(request, read_wanted(given))


def _arrays(given: argparse.Namespace) -> dict[str, Path]:
    return {role: getattr(given, role) for role in ARRAYS if getattr(given, role) is not None}
