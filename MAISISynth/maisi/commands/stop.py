"""``maisi stop``: end a training with a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.parsing import add_command
from maisi.errors import InputError
from maisi.train.run_folder import RunFolder


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``stop``."""
    stop = add_command(commands, "stop", _stop, "Stop a training with a checkpoint; it can go on with --resume.")
    stop.add_argument("run", type=Path, metavar="DIR", help="folder of the training")
    stop.add_argument("--now", action="store_true", help="end it even if it does not answer, without a new checkpoint")


def _stop(given: argparse.Namespace) -> None:
    from maisi.train.stopping import stop

    run = RunFolder(given.run)
    if not run.exists:
        raise InputError(f"There is no training in {run.path}.")
    print(stop(run, given.now))
