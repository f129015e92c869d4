"""``torchrun --nproc-per-node 8 -m maisi.evaluate JOB.json``: one process's share of the features that JOB asks for.

``maisi evaluate fid --nproc`` starts it on one machine. With ``--job FILE`` it only writes the job, for torchrun or a
cluster's launcher on several machines that share the cache's folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from maisi.errors import Cancelled
from maisi.evaluate.feature_cache import Extractor
from maisi.torchrun import own_device, run_share


def main() -> int:
    """The exit code (see :func:`maisi.torchrun.run_share`)."""
    parser = argparse.ArgumentParser(prog="python -m maisi.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path)
    job = json.loads(parser.parse_args().job.read_text(encoding="utf-8"))
    extractor = Extractor.from_json(job["extractor"])

    def work(rank: int, world: int, cancelled: Callable[[], bool]) -> None:
        own = replace(extractor, device=own_device(extractor.device))
        for file in job["files"][rank::world]:
            if cancelled():
                raise Cancelled("The work was stopped; the features so far are kept.")
            own.extract(Path(file))

    return run_share(work)


if __name__ == "__main__":
    sys.exit(main())
