"""``maisi devices`` and ``maisi models``: what there is on this machine."""

from __future__ import annotations

import argparse

from maisi.commands.console import print_rows
from maisi.commands.parsing import add_command


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``devices`` and ``models``."""
    add_command(commands, "devices", _devices, "List the devices that can be used.")
    add_command(commands, "models", _models, "List the models.")


def _devices(options: argparse.Namespace) -> None:
    from maisi.devices import available_devices

    print_rows(
        [(d["name"], d["label"], f"{d['free_gb']:.1f} of {d['total_gb']:.1f} GB free") for d in available_devices()]
    )


def _models(options: argparse.Namespace) -> None:
    from maisi.models.variants import variants

    rows = [(v.name, v.title, v.image, f"{v.schedule.steps} steps", v.license) for v in variants().values()]
    print_rows(rows or [("no models are installed",)])
