"""``maisi web``."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError

NEEDED = ("slicer", "vtk", "trame", "trame_slicer", "trame_server", "aiohttp", "undo_stack", "LayerDMLib")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``web``."""
    web = add_command(commands, "web", _web, "Draw, edit and synthesize in a browser on this computer.")
    web.add_argument(
        "case",
        nargs="*",
        type=Path,
        metavar="CASE",
        help="a folder, a scene (.mrb), or a label map or .seg.nrrd and perhaps its CT (default: the demo anatomy)",
    )
    web.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    add_labels_from(web)


def _web(options: argparse.Namespace) -> None:
    try:
        from MAISIWebLib.Launch import serve

        serve(options.case, options.port, options.labels_from)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in (*NEEDED, "MAISIWebLib"):
            raise
        raise InputError(f'The browser workbench needs {error.name}; run: pip install "maisi[web]"') from error
