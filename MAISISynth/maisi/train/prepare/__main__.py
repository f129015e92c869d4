"""``torchrun --nproc-per-node 8 -m maisi.train.prepare DIR``: one process's share of what was planned in DIR.

``maisi prepare --nproc`` starts it on one machine; on several, torchrun or a cluster's launcher does, after
``maisi prepare --plan``.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from maisi.errors import Cancelled, MaisiError
from maisi.train.prepare.folder import PreparedFolder
from maisi.train.prepare.run import finish, make_share


def main() -> int:
    """Exit code 0 also where cases failed: that must not end the other processes; their records tell."""
    parser = argparse.ArgumentParser(prog="python -m maisi.train.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = PreparedFolder(parser.parse_args().folder)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    launcher = os.getppid()
    try:
        plan = folder.read_plan()
        if plan.device == "auto" and plan.encodes:
            plan = replace(plan, device=_own_device(int(os.environ.get("LOCAL_RANK", 0))))
        make_share(plan, folder, rank, world, cancelled=lambda: os.getppid() != launcher)
        finish(plan, folder)
    except Cancelled:
        return 130
    except MaisiError as error:
        print(f"maisi: {error}", file=sys.stderr)
        return 2
    return 0


def _own_device(local_rank: int) -> str:
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{local_rank % count}" if count else "auto"


if __name__ == "__main__":
    sys.exit(main())
