"""What the subjects of ``maisi evaluate`` share: their common options, and how they tell what they found."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maisi.commands.console import print_notes, print_rows

if TYPE_CHECKING:
    from maisi.evaluate.report import Report

DATASET = "a folder, a data list (.json) or an nnU-Net data set"


def tell(report: Report, path: Path | None) -> None:
    """Print a report, and write it where that is wanted."""
    print_rows(report.table)
    print_notes(report.notices)
    if path is not None:
        report.write(path)
        print(f"Wrote {path}.")


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``, of every subject."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here, with settings and versions")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Options of everything that looks at slices with a feature network."""
    text = "efficientnet-lite0 (default), or the file of RadImageNet's ResNet50 or of a TorchScript network"
    parser.add_argument("--network", default="efficientnet-lite0", metavar="NAME", help=text)
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="slices at once (default 32)")


def three(kind: type) -> Callable[[str], tuple]:
    """Reads ``"1,2,3"``, for argparse."""

    def read(text: str) -> tuple:
        return tuple(map(kind, text.split(",")))

    read.__name__ = "three numbers"  # argparse says it of what cannot be read
    return read
