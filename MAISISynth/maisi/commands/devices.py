"""``maisi devices``: what this machine can compute on."""

from __future__ import annotations

import argparse

from maisi.commands.console import print_rows
from maisi.commands.parsing import add_command


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``devices``."""
    add_command(commands, "devices", _devices, "List the devices that can be used.")


def _devices(options: argparse.Namespace) -> None:
    from maisi.devices import available_devices

    print_rows(
        [(d["name"], d["label"], f"{d['free_gb']:.1f} of {d['total_gb']:.1f} GB free") for d in available_devices()]
    )
