"""``maisi check``: the quality check."""

from __future__ import annotations

import argparse
import json

from maisi.commands.parsing import add_command, add_labels_from


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``check``."""
    check = add_command(commands, "check", _check, "Compare the median HU of the organs with those of real CTs.")
    check.add_argument("ct", metavar="CT")
    check.add_argument("labels", metavar="LABELS")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_labels_from(check)


def _check(options: argparse.Namespace) -> None:
    from maisi.checks.hu import check_hu, hu_report, hu_table
    from maisi.files import read_image, read_labels
    from maisi.geometry import place_on

    image = read_image(options.ct)
    readings = check_hu(image, place_on(read_labels(options.labels, options.labels_from), image))
    print(json.dumps(hu_report(readings), indent=2) if options.json else hu_table(readings))
