"""Building blocks of the command line's parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Tells a wrong argument in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"maisi: {message} (see: {self.prog} --help)\n")


def add_command(
    commands: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    """A parser for the command ``name``, which calls ``run`` with what was given. ``text`` is its help."""
    made = commands.add_parser(name, help=text, description=text)
    made.set_defaults(command=run)
    return made


def add_labels_from(parser: argparse.ArgumentParser) -> None:
    """``--labels-from``: the numbering of the label files."""
    from maisi.labels import SOURCES

    parser.add_argument("--labels-from", choices=SOURCES, default="maisi", help="whose ids (default maisi)")
