"""``torchrun --nproc-per-node 8 -m maisi.vary FOLDER``: one process's share of the series that was begun in FOLDER.

``maisi vary --nproc`` starts it on one machine; on several, torchrun or a cluster's launcher does.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from maisi.errors import Cancelled, MaisiError
from maisi.vary.opening import Series, join
from maisi.vary.run import finish, make_share


def main() -> int:
    """Exit code 0 also where cases failed: that must not end the other processes; their records tell."""
    parser = argparse.ArgumentParser(prog="python -m maisi.vary", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    launcher = os.getppid()
    try:
        series = _on_own_device(join(folder), int(os.environ.get("LOCAL_RANK", 0)))
        make_share(series, rank, world, cancelled=lambda: os.getppid() != launcher)
        finish(series)
    except Cancelled:
        return 130
    except MaisiError as error:
        print(f"maisi: {error}", file=sys.stderr)
        return 2
    return 0


def _on_own_device(series: Series, local_rank: int) -> Series:
    """With the GPU of this process, where there are some and none was chosen."""
    import torch

    count = torch.cuda.device_count()
    if not count or series.options.device != "auto":
        return series
    options = replace(series.options, device=f"cuda:{local_rank % count}")
    return replace(series, source=replace(series.source, options=options))


if __name__ == "__main__":
    sys.exit(main())
