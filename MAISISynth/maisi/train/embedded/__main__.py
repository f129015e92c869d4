"""`python -m maisi.train.embedded cases|real DIR ...`: the data that the embedded model is trained with.

    cases DIR --labels MAP.nii.gz ... --first SEED --count N    rendered pairs, without and with lesions
    real DIR --images CT.nii.gz ...                             real CTs for the autoencoder

Both write a prepared data set and go on where they were stopped; then come `maisi prepare` for the latents and
`maisi train` with the configurations `embedded_*.yaml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.body import with_body
from maisi.files import read_labels
from maisi.train.embedded.dataset import write_cases, write_real


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m maisi.train.embedded", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("cases", "real"))
    parser.add_argument("folder", type=Path, help="prepared data set to begin or to extend")
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="label maps to deform (cases)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--count", type=int, default=400, help="number of cases")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="CTs (real)")
    args = parser.parse_args()
    if args.what == "real":
        write_real(args.folder, args.images)
    else:
        maps = {path.parent.name: with_body(read_labels(path))[0] for path in args.labels}
        write_cases(args.folder, range(args.first, args.first + args.count), maps)


if __name__ == "__main__":
    main()
