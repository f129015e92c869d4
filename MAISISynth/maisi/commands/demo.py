"""``maisi demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.parsing import add_command
from maisi.errors import InputError


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``demo``."""
    text = "Draw a liver lesion, synthesize, move it, synthesize again; write everything."
    demo = add_command(commands, "demo", _demo, text)
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder (default demo)")


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
