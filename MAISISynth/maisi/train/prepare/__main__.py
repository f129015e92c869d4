"""``torchrun --nproc-per-node 8 -m maisi.train.prepare DIR``: one process's share of what was planned in DIR.

``maisi prepare --nproc`` starts it on one machine; on several, torchrun or a cluster's launcher does, after
``maisi prepare --plan``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from maisi.torchrun import own_device, run_share
from maisi.train.prepare.folder import PreparedFolder
from maisi.train.prepare.run import finish, make_share


def main() -> int:
    """Exit code 0 also where cases failed; their records tell."""
    parser = argparse.ArgumentParser(prog="python -m maisi.train.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = PreparedFolder(parser.parse_args().folder)

    def work(rank: int, world: int, cancelled: Callable[[], bool]) -> None:
        plan = folder.read_plan()
        if plan.encodes:
            plan = replace(plan, device=own_device(plan.device))
        make_share(plan, folder, rank, world, cancelled=cancelled)
        finish(plan, folder)

    return run_share(work)


if __name__ == "__main__":
    sys.exit(main())
