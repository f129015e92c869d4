"""The command line's way to say the :class:`maisi.options.Options`."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import fields

from maisi.options import PRECISIONS, REGIONS, SOLVERS, TIME_GRIDS, Options

_TYPES = {"int": int, "float": float, "str": str, "tuple[str, ...]": lambda text: tuple(text.split(","))}
_HELP = {
    "model": "see: maisi models list (default embedded)",
    "seed": "same seed, same image (default 0)",
    "steps": "steps of the solver (default: what the model card says)",
    "solver": f"{', '.join(SOLVERS)} (default: the model's)",
    "time_grid": f"of rectified flow: {' or '.join(TIME_GRIDS)} (default: the model's)",
    "guidance": "scale of classifier-free guidance, 0 = none (default: the model's)",
    "modality": "contrast to make, such as t1 (default: the model's)",
    "regions": f"body regions in view, with commas: {','.join(REGIONS)} (only some models take them)",
    "compatible": "do exactly what the reference does, at its speed",
    "precision": f"of the networks: {', '.join(PRECISIONS)} (default auto)",
    "compiled": "let torch.compile make faster kernels; pays on CUDA with many images",
    "retries": "how often to try the next seed when the quality check fails (default 0)",
    "method": "of an edit: local (its surroundings only) or full (default local)",
    "device": "auto, cpu, cuda, cuda:1, mps (default auto)",
}


def add_options(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """Add an argument for each field of Options, or only for those of ``names``."""
    for option in fields(Options):
        if names is not None and option.name not in names:
            continue
        flag, kind = f"--{option.name.replace('_', '-')}", option.type.removesuffix(" | None")
        if kind == "bool":
            parser.add_argument(flag, action="store_true", help=_HELP[option.name])
        else:
            parser.add_argument(flag, type=_TYPES[kind], default=option.default, help=_HELP[option.name])


def read_options(given: argparse.Namespace) -> Options:
    """The Options that were given. Raises InputError: a value cannot be used."""
    return Options(**{option.name: getattr(given, option.name) for option in fields(Options) if option.name in given})
