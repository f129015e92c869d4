"""``maisi evaluate`` of models: reconstruction by the autoencoder, steps of the solver."""

from __future__ import annotations

import argparse
from pathlib import Path

from maisi.commands.console import ProgressBar
from maisi.commands.evaluation import DATASET, add_json, add_network, tell
from maisi.commands.options import add_options, read_options
from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError


def add_reconstruction(subjects: argparse._SubParsersAction) -> None:
    """Add ``reconstruction``."""
    text = "Encode and decode real CTs: mean difference, PSNR, SSIM, and a perceptual distance named by its network."
    parser = add_command(subjects, "reconstruction", _reconstruction, text)
    parser.add_argument("dataset", metavar="DATASET", help=f"CTs: {DATASET}; labels are not needed")
    add_network(parser)
    add_options(parser, ("model", "precision", "device"))
    add_json(parser)


def _reconstruction(given: argparse.Namespace) -> None:
    from maisi.datasets import read_dataset
    from maisi.evaluate.reconstruction import evaluate_reconstruction
    from maisi.models.features import load_features

    if given.batch < 1:
        raise InputError(f"The number of slices at once must be at least 1, got {given.batch}.")
    options, dataset = read_options(given), read_dataset(given.dataset)
    network = load_features(given.network)
    with ProgressBar() as progress:
        report = evaluate_reconstruction(dataset, options, network, given.batch, progress)
    tell(report, given.json)


def add_steps(subjects: argparse._SubParsersAction) -> None:
    """Add ``steps``."""
    text = "Compare solvers and numbers of steps with a very fine solution from the same noise."
    parser = add_command(subjects, "steps", _steps, text)
    parser.usage = "maisi evaluate steps [LABELS ...] [options]"
    parser.add_argument("labels", metavar="LABELS", nargs="*", type=Path, help="label maps (default: phantoms)")
    parser.add_argument("--phantoms", type=int, default=2, metavar="N", help="where there are no LABELS (default 2)")
    parser.add_argument("--size", type=int, default=96, metavar="N", help="voxels of a phantom's side (default 96)")
    parser.add_argument("--tried", metavar="WAY,WAY", help="such as euler:30,adams-bashforth:10 (default: many)")
    parser.add_argument("--fine", default="heun:60", metavar="WAY", help="the solution to compare with")
    add_labels_from(parser)
    add_options(parser, ("model", "seed", "time_grid", "guidance", "modality", "precision", "device"))
    add_json(parser)


def _steps(given: argparse.Namespace) -> None:
    from maisi.evaluate.steps import TRIED, evaluate_steps, phantoms_with_tumor, read_way
    from maisi.files import read_labels

    options = read_options(given)
    tried = [read_way(text) for text in given.tried.split(",")] if given.tried else TRIED
    fine = read_way(given.fine)
    cases = [read_labels(path, given.labels_from) for path in given.labels]
    if not cases:
        if not 1 <= given.phantoms <= 1000 or not 32 <= given.size <= 512:
            raise InputError("Give 1 to 1000 phantoms of 32 to 512 voxels.")
        cases = phantoms_with_tumor(given.phantoms, given.size)
    with ProgressBar() as progress:
        report = evaluate_steps(cases, options, tried, fine, progress)
    tell(report, given.json)
