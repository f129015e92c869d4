"""``maisi vary``: counterfactual series as a data set for nnU-Net and Auto3DSeg."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maisi.commands.console import ProgressBar, print_notes, print_rows
from maisi.commands.options import add_options, read_options
from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError, MaisiError
from maisi.request import Request

if TYPE_CHECKING:
    from maisi.vary.opening import Series
    from maisi.vary.series import Item, SeriesRequest

_HEADINGS = ("CASE", "SEED", "LESION", "ORGAN", "SIZE", "SHAPE", "PLACE", "VOLUME", "CUT OFF")
_NNUNET_NAME = re.compile(r"Dataset\d{3}_.+")
_ERRORS_SHOWN = 5


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``vary``."""
    text = "Make a data set of one anatomy without and with lesions of several kinds, places, shapes and sizes."
    vary = add_command(commands, "vary", _vary, text)
    vary.usage = "maisi vary [CT] LABELS -n N -o DIR [options]"
    vary.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a label map; before it a CT to vary, if any")
    vary.add_argument("-n", "--cases", type=int, required=True, metavar="N", help="cases, with and without lesions")
    vary.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on with"
    )
    _add_factors(vary)
    vary.add_argument("--keep-lesions", action="store_true", help="lesions that are in LABELS stay (default: removed)")
    vary.add_argument("--classes", default="all", help="labels in the data set: all, or lesions only (default all)")
    vary.add_argument("--nproc", type=int, default=1, metavar="P", help="processes that share the work, one for a GPU")
    vary.add_argument("--dry-run", action="store_true", help="show the plan and write nothing")
    add_labels_from(vary)
    add_options(vary)


def _add_factors(vary: argparse.ArgumentParser) -> None:
    def names(text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(","))

    def numbers(text: str) -> tuple[float, ...]:
        return tuple(map(float, text.split(",")))

    many = vary.add_argument_group("what is varied")
    many.add_argument("--organs", type=names, default=(), metavar="A,B", help="such as liver,left kidney,lung,bone")
    many.add_argument("--lesions", type=names, default=(), metavar="A,B", help="such as hepatic tumor,bone lesion")
    many.add_argument("--sizes", type=numbers, default=(), metavar="MM,MM", help="largest diameters (default: three)")
    many.add_argument("--shapes", type=int, default=2, metavar="N", help="shapes of each kind (default 2)")
    many.add_argument("--places", type=int, metavar="N", help="places in each organ (default: as many as are needed)")
    text = "images to put lesions into (default: half of the cases; with a CT it is the CT)"
    many.add_argument("--backgrounds", type=int, metavar="N", help=text)
    many.add_argument("--no-baselines", action="store_true", help="no cases without a lesion")


def _vary(given: argparse.Namespace) -> None:
    from maisi.vary.opening import begin, plan
    from maisi.vary.run import finish, make_share, tidy

    source = Request("vary", read_options(given), _files(given.files), given.labels_from)
    if not 1 <= given.nproc <= 256:
        raise InputError(f"The number of processes must be from 1 to 256, got {given.nproc}.")
    series = plan(given.output, source, _request(given))
    if given.dry_run:
        print_rows([_HEADINGS, *map(_row, series.items)])
        return
    _tell_need(series, given.nproc)
    series = begin(series)
    try:
        with ProgressBar() as progress:
            if given.nproc > 1:
                from maisi.vary.launch import run_processes

                run_processes(series.folder, given.nproc, progress)
            else:
                make_share(series, progress=progress)
    finally:
        tidy(series)
        missing = finish(series)
    _tell_end(series, missing)


def _files(given: Sequence[Path]) -> dict[str, Path]:
    if len(given) > 2:
        raise InputError(f"Give one label map, or a CT and its label map; got {len(given)} files.")
    return dict(zip(("labels", "image"), reversed(given), strict=False))


def _request(given: argparse.Namespace) -> SeriesRequest:
    from maisi.vary.series import SeriesRequest

    return SeriesRequest(
        cases=given.cases,
        organs=given.organs,
        lesions=given.lesions,
        sizes_mm=given.sizes,
        shapes=given.shapes,
        places=given.places,
        backgrounds=given.backgrounds,
        baselines=not given.no_baselines,
        keep_lesions=given.keep_lesions,
        classes=given.classes,
        seed=given.seed,
    )


def _row(item: Item) -> tuple[str, ...]:
    from maisi.labels import LABELS

    found = item.variation
    if found is None:
        return (item.case, str(item.seed), "none", *[""] * 6)
    levels = f"{found.size_mm:g} mm", str(found.shape), str(found.place)
    measures = f"{found.volume_ml:.2f} ml", f"{found.clipped:.0%}"
    return (item.case, str(item.seed), LABELS[found.lesion.label].name, found.organ, *levels, *measures)


def _tell_need(series: Series, processes: int) -> None:
    from maisi.planning import plan

    each = plan(series.labels.shape, series.labels.affine, series.options)
    print(
        f"Model {series.options.model} on {each.device}: {len(series.items)} cases, about {each.memory_gb:.1f} GB of "
        f"memory for each of {processes} processes, up to {each.seconds:.0f} s for each case.",
        file=sys.stderr,
    )


def _tell_end(series: Series, missing: dict[str, dict]) -> None:
    made, folder = len(series.items) - len(missing), series.folder.path
    print(f"Wrote {made} of {len(series.items)} cases to {folder}.")
    if not _NNUNET_NAME.fullmatch(folder.resolve().name):
        print_notes([f"nnU-Net wants a name such as Dataset501_{folder.resolve().name}; rename the folder for it."])
    if missing:
        told = [f"{case}: {record.get('error', 'not made')}" for case, record in missing.items()]
        print_notes([*told[1 : 1 + _ERRORS_SHOWN], *(["..."] if len(told) > 1 + _ERRORS_SHOWN else [])])
        raise MaisiError(
            f"{len(missing)} of {len(series.items)} cases are missing ({told[0].rstrip('.')}); run the same "
            "command again to try them once more."
        )
