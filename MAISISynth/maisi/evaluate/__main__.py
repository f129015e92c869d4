"""``torchrun --nproc-per-node 8 -m maisi.evaluate JOB.json``: one process's share of the features that JOB asks for.

``maisi evaluate fid --nproc`` starts it on one machine. With ``--job FILE`` it only writes the job, for torchrun or a
cluster's launcher on several machines that share the cache's folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from maisi.errors import MaisiError
from maisi.evaluate.feature_cache import Extractor, extract_share


def main() -> int:
    """Exit code 2 with a sentence for what cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m maisi.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path)
    job = json.loads(parser.parse_args().job.read_text(encoding="utf-8"))
    rank, world, local = (int(os.environ.get(name, least)) for name, least in _PLACE)
    try:
        extract_share(Extractor.from_json(job["extractor"]), [Path(f) for f in job["files"]], rank, world, local)
    except MaisiError as error:
        print(f"maisi: {error}", file=sys.stderr)
        return 2
    return 0


_PLACE = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))

if __name__ == "__main__":
    sys.exit(main())
