"""The command line, ``maisi ...``. Exit codes: 0 done, 1 our fault, 2 bad input (one sentence tells), 130 stopped."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import maisi
from maisi.commands import (
    check,
    demo,
    devices,
    evaluate,
    models,
    prepare,
    repeat,
    runs,
    stop,
    synthesize,
    train,
    vary,
    web,
)
from maisi.commands.parsing import Parser
from maisi.errors import Cancelled, MaisiError

# What needs torch is imported by the commands that need it.
COMMANDS = (synthesize, vary, repeat, check, evaluate, prepare, train, runs, stop, demo, devices, models, web)


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


def _parser() -> Parser:
    parser = Parser(prog="maisi", description="Synthesize CT and MR volumes from label maps. Not for clinical use.")
    parser.add_argument("--version", action="version", version=f"maisi {maisi.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subject in COMMANDS:
        subject.add_parser(commands)
    return parser
