"""``maisi prepare``: a data set checked, and brought into the form that trainings read."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from maisi.commands.console import ProgressBar, print_notes, print_rows
from maisi.commands.parsing import add_command
from maisi.errors import InputError, MaisiError
from maisi.labels import SOURCES

if TYPE_CHECKING:
    from maisi.train.prepare.check import Checked
    from maisi.train.prepare.folder import Plan, PreparedFolder
    from maisi.train.prepare.opening import PrepareRequest

_ERRORS_SHOWN = 5


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``prepare``."""
    text = "Check a data set of CTs or MRs with label maps, and prepare it for training."
    prepare = add_command(commands, "prepare", _prepare, text)
    prepare.add_argument(
        "sources",
        metavar="DATASET",
        nargs="+",
        type=Path,
        help="MONAI or Auto3DSeg data list (.json), nnU-Net folder, or a folder of images and labels",
    )
    prepare.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="a folder to make or go on with"
    )
    prepare.add_argument("--check", action="store_true", help="look at all files, tell what is wrong, and stop")
    prepare.add_argument("--json", action="store_true", help="with --check: print the report as JSON")
    prepare.add_argument("--plan", action="store_true", help="stop before the work, which torchrun then does")
    prepare.add_argument("--nproc", type=int, default=1, metavar="N", help="processes that share the work")
    _add_images(prepare.add_argument_group("images"))
    _add_labels(prepare.add_argument_group("labels"))
    _add_latents(prepare.add_argument_group("latents"))


def _add_images(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--multiple", type=int, default=128, metavar="N", help="sizes are multiples of it (default 128)")
    group.add_argument(
        "--spacing", type=float, nargs=3, metavar="MM", help="one spacing for all, padded to the multiple (default: "
        "the size nearest to the scan's, as in the paper)"
    )  # fmt: skip
    group.add_argument(
        "--copies", default="halvings", help="down-sampled copies: none, smallest, halvings (default halvings)"
    )
    group.add_argument(
        "--window", type=float, nargs=2, metavar="HU", help="values beyond are cut (default: the model's)"
    )
    group.add_argument("--min-slices", type=int, default=64, metavar="N", help="fewer slices: dropped (default 64)")
    group.add_argument("--modality", metavar="NAME", help="of images whose data set does not tell it (default ct)")


def _add_labels(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--labels-from", choices=SOURCES, help="whose ids (default: the data set's own names, else maisi)"
    )
    group.add_argument(
        "--map", action="append", default=[], metavar="A=B", help="'kidney=left kidney', '7=133', 'couch=ignore'"
    )
    group.add_argument(
        "--new-label",
        action="append",
        default=[],
        metavar="NAME=ID:ORGANS",
        help="a new lesion class, such as 'renal angiomyolipoma=133:kidney'; ids 133-199 and 201-255",
    )
    group.add_argument("--pseudo-labels", type=Path, metavar="DIR", help="organs by another program, under your labels")
    group.add_argument("--pseudo-from", choices=SOURCES, default="maisi", help="whose ids these are (default maisi)")


def _add_latents(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", metavar="NAME", help="encode with the autoencoder of this model (see: maisi models)")
    group.add_argument("--autoencoder", type=Path, metavar="FILE", help="its weights, or the folder of a run, in place")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps (default: the best there is)")


def _prepare(given: argparse.Namespace) -> None:
    from maisi.train.prepare.folder import PreparedFolder
    from maisi.train.prepare.opening import begin, look

    if not 1 <= given.nproc <= 256:
        raise InputError(f"The number of processes must be from 1 to 256, got {given.nproc}.")
    request = _request(given)
    with ProgressBar() as progress:
        cases, checked = look(request, given.nproc, progress)
    folder = PreparedFolder(given.output)
    if given.check and given.json:
        print(json.dumps(json.loads(folder.report.read_text(encoding="utf-8")), indent=2))
        return
    _tell_findings(checked, folder)
    if given.check:
        return
    plan = begin(request, cases, checked)
    if given.plan:
        print(f"Planned; now run: torchrun --nproc-per-node N -m maisi.train.prepare {given.output}")
        return
    _make(plan, folder, given.nproc)


def _request(given: argparse.Namespace) -> PrepareRequest:
    from maisi.models.variants import get_variant
    from maisi.new_classes import learn, parse
    from maisi.train.prepare.numbering import Numbering, parse_mapping
    from maisi.train.prepare.opening import PrepareRequest
    from maisi.train.prepared import Settings

    variant = get_variant(given.model) if given.model else None
    classes = tuple(map(parse, given.new_label))
    learn(classes)  # the mapping may name them
    model_window = (variant.intensity.hu[0], variant.intensity.hu[-1]) if variant and variant.image == "ct" else None
    return PrepareRequest(
        sources=tuple(given.sources),
        output=given.output,
        settings=Settings(
            multiple=given.multiple,
            spacing=given.spacing and tuple(given.spacing),
            window=tuple(given.window) if given.window else model_window or Settings.window,
            copies=given.copies,
            min_slices=given.min_slices,
            classes=classes,
        ),
        numbering=Numbering(given.labels_from, given.pseudo_from, parse_mapping(given.map)),
        modality=given.modality,
        pseudo_labels=given.pseudo_labels,
        model=given.model,
        autoencoder=given.autoencoder,
        device=given.device,
    )


def _tell_findings(checked: list[Checked], folder: PreparedFolder) -> None:
    from maisi.train.prepare.report import rows, sentences

    used = sum(look.usable for look in checked)
    print(f"{used} of {len(checked)} cases can be used; {folder.report} has all that was found.")
    if any(look.findings for look in checked):
        print_rows(rows(checked))
        print_notes(sentences(checked))


def _make(plan: Plan, folder: PreparedFolder, processes: int) -> None:
    from maisi.train.prepare.run import finish, make_share
    from maisi.train.prepared import read_items

    try:
        with ProgressBar() as progress:
            if processes > 1:
                from maisi.torchrun import run_processes

                watch = lambda: progress("prepare", folder.count_done(plan), len(plan.cases))  # noqa: E731
                run_processes("maisi.train.prepare", [os.fspath(folder.path)], processes, folder.log, watch)
            else:
                make_share(plan, folder, progress=progress)
    finally:
        missing = finish(plan, folder)
    items = read_items(folder.path)
    copies = sum(item.downsampled for item in items)
    latents = sum(item.latent is not None for item in items)
    print(f"{folder.path} has {len(items)} images ({copies} of them down-sampled copies), {latents} with latents.")
    if missing:
        print_notes([f"{case}: {text}" for case, text in list(missing.items())[:_ERRORS_SHOWN]])
        raise MaisiError(f"{len(missing)} of {len(plan.cases)} cases are missing; the same command tries them again.")
