"""``maisi check``: the quality check, and learning its ranges from the user's own CTs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from maisi.commands.console import ProgressBar, print_notes
from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``check``."""
    check = add_command(
        commands, "check", _check, "Compare the median HU of the organs of a CT with those of real CTs."
    )
    check.add_argument("ct", metavar="CT", nargs="?")
    check.add_argument("labels", metavar="LABELS", nargs="?")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    ranges = check.add_mutually_exclusive_group()
    ranges.add_argument(
        "--statistics", metavar="FILE", help="ranges learned with --learn instead of the published ones"
    )
    ranges.add_argument("--compatible", action="store_true", help="judge exactly what the reference judges")
    ranges.add_argument(
        "--learn", metavar="FOLDER", help="learn ranges from NAME_image and NAME_label files in FOLDER; needs -o"
    )
    check.add_argument("-o", "--output", type=Path, metavar="FILE", help="with --learn: the statistics, .json")
    add_labels_from(check)


def _check(options: argparse.Namespace) -> None:
    if options.learn:
        _learn(options)
        return
    from maisi.checks.hu import BANDS, COMPATIBLE_BANDS, check_hu, hu_report, hu_table
    from maisi.checks.statistics import read_bands
    from maisi.files import read_image, read_labels
    from maisi.geometry import place_on

    if options.ct is None or options.labels is None:
        raise InputError("Give a CT and its labels, or --learn FOLDER -o FILE.")
    if options.output is not None:
        raise InputError("-o belongs to --learn; the check prints what it finds.")
    bands = read_bands(options.statistics) if options.statistics else BANDS
    image = read_image(options.ct)
    labels = place_on(read_labels(options.labels, options.labels_from), image)
    readings = check_hu(image, labels, COMPATIBLE_BANDS if options.compatible else bands)
    print(json.dumps(hu_report(readings), indent=2) if options.json else hu_table(readings))


def _learn(options: argparse.Namespace) -> None:
    from maisi.checks.statistics import learn, notices, to_json
    from maisi.datasets import find_pairs
    from maisi.files import write_json

    if options.ct is not None or options.output is None:
        raise InputError("--learn takes a folder and -o FILE.json, and no CT.")
    if options.output.suffix != ".json":
        raise InputError(f"{options.output} must end in .json.")
    pairs = find_pairs(options.learn)
    with ProgressBar() as progress:
        statistics = learn(pairs, options.labels_from, progress)
    write_json(options.output, to_json(statistics))
    print_notes(notices(statistics))
    print(f"Wrote {options.output}: ranges of {len(statistics)} organs from {len(pairs)} images.")
