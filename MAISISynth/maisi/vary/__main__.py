"""``torchrun --nproc-per-node 8 -m maisi.vary FOLDER``: one process's share of the series that was begun in FOLDER.

``maisi vary --nproc`` starts it on one machine; on several, torchrun or a cluster's launcher does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from maisi.torchrun import own_device, run_share
from maisi.vary.opening import Series, join
from maisi.vary.run import finish, make_share


def main() -> int:
    """Exit code 0 also where cases failed; their records tell."""
    parser = argparse.ArgumentParser(prog="python -m maisi.vary", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder

    def work(rank: int, world: int, cancelled: Callable[[], bool]) -> None:
        series = _on_own_device(join(folder))
        make_share(series, rank, world, cancelled=cancelled)
        finish(series)

    return run_share(work)


def _on_own_device(series: Series) -> Series:
    options = replace(series.options, device=own_device(series.options.device))
    return replace(series, source=replace(series.source, options=options))


if __name__ == "__main__":
    sys.exit(main())
