"""``maisi repeat``: make a result again from its record."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.making import add_output_arguments, make_one, read_wanted, tell_need
from maisi.commands.parsing import add_command
from maisi.request import read_inputs


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``repeat``."""
    repeat = add_command(commands, "repeat", _repeat, "Make an image again from the record (.json) beside it.")
    repeat.add_argument("record", metavar="RECORD", type=Path, help="CT.json of CT.nii.gz")
    add_output_arguments(repeat)


def _repeat(given: argparse.Namespace) -> None:
    from maisi.outputs.record import Record
    from maisi.outputs.targets import check_no_input

    record, wanted = Record(given.record), read_wanted(given)
    check_no_input(wanted.output.path, [record.image])
    record.check_model()
    inputs = read_inputs(record.request)
    record.check_inputs(inputs)
    wanted.check(record.request, inputs)
    tell_need(record.request, inputs)
    result = make_one(record.request, inputs, wanted)
    print(*record.compare(result.image, result.info["device"]), sep="\n")
