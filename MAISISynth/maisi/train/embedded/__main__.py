"""`python -m maisi.train.embedded cases|real|latents DIR ...`: the data that the embedded model is trained with.

    cases DIR --labels MAP.nii.gz ... --first SEED --count N    rendered pairs, without and with lesions
    real DIR --images CT.nii.gz ...                             real CTs, for the decoder
    latents DIR --autoencoder RUN                               latents of the rendered pairs

DIR is a prepared data set; all go on where they were stopped. Maps and images are named after their folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.body import with_body
from maisi.files import read_labels
from maisi.train.embedded.dataset import write_cases, write_real
from maisi.train.embedded.latents import write_latents


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m maisi.train.embedded", description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="what", required=True)
    cases, real, latents = (kinds.add_parser(name) for name in ("cases", "real", "latents"))
    for kind in (cases, real, latents):
        kind.add_argument("folder", type=Path, help="prepared data set to begin or to extend")
    cases.add_argument("--labels", type=Path, nargs="*", default=[], help="label maps to deform")
    cases.add_argument("--first", type=int, default=0, help="seed of the first case")
    cases.add_argument("--count", type=int, default=400, help="number of cases")
    real.add_argument("--images", type=Path, nargs="+", required=True, help="CTs")
    latents.add_argument("--autoencoder", type=Path, required=True, help="folder of the decoder's run")
    args = parser.parse_args()
    if args.what == "real":
        write_real(args.folder, args.images)
    elif args.what == "latents":
        write_latents(args.folder, args.autoencoder)
    else:
        maps = {path.parent.name: with_body(read_labels(path))[0] for path in args.labels}
        write_cases(args.folder, range(args.first, args.first + args.count), maps)


if __name__ == "__main__":
    main()
