"""``maisi evaluate study``: what synthetic cases are worth for training a segmenter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maisi.commands.console import ProgressBar, print_notes
from maisi.commands.evaluation import DATASET, add_json, tell, three
from maisi.commands.options import add_options, read_options
from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError

if TYPE_CHECKING:
    from maisi.evaluate.study.cases import StudyCase
    from maisi.evaluate.study.settings import StudySettings


def add_study(subjects: argparse._SubParsersAction) -> None:
    """Add ``study``."""
    text = "Train a small segmenter on real cases and on real and synthetic ones, in folds, and compare their Dice."
    parser = add_command(subjects, "study", _study, text)
    parser.usage = "maisi evaluate study [REAL] -o DIR [options]"
    parser.add_argument("real", metavar="REAL", nargs="?", help=f"real CTs with labels: {DATASET}; else phantoms")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="new, or one to go on with")
    parser.add_argument("--synthetic", metavar="DATASET", help="synthetic CTs with labels (default: made from REAL's)")
    parser.add_argument("--phantoms", type=int, default=8, metavar="N", help="rendered cases without REAL (default 8)")
    parser.add_argument("--auto3dseg", action="store_true", help="train nothing; write both arms for Auto3DSeg")
    how = parser.add_argument_group("the study")
    names = "with commas, such as liver,hepatic tumor (default: the lesions of REAL)"
    how.add_argument("--classes", default="", metavar="A,B", help=names)
    how.add_argument("--folds", type=int, default=5, metavar="K", help="unless REAL names its own (default 5)")
    how.add_argument("--ratio", type=float, default=1.0, help="synthetic cases for each real one (default 1)")
    how.add_argument("--train-steps", type=int, default=2000, metavar="N", help="of each training (default 2000)")
    how.add_argument("--spacing", type=three(float), default=(3.0,) * 3, metavar="X,Y,Z", help="mm (default 3,3,3)")
    how.add_argument("--patch", type=int, default=64, metavar="N", help="voxels of a side (default 64)")
    how.add_argument("--window", type=float, nargs=2, default=(-200.0, 300.0), metavar="HU", help="of the input")
    how.add_argument("--width", type=int, default=16, metavar="N", help="channels of the first level (default 16)")
    how.add_argument("--batch", type=int, default=2, metavar="N", help="volumes a step, two patches each (default 2)")
    add_labels_from(parser)
    add_options(parser.add_argument_group("the synthesis, where there is no data set of synthetic cases"))
    add_json(parser)


def _study(given: argparse.Namespace) -> None:
    from maisi.evaluate.study.run import run_study

    with ProgressBar() as progress:
        real, synthetic, settings = _prepare(given, progress)
        if given.auto3dseg:
            from maisi.evaluate.study.auto3dseg import write_auto3dseg

            script = write_auto3dseg(real, synthetic, settings, given.output / "auto3dseg")
        else:
            report = run_study(real, synthetic, settings, given.output / "trainings", given.device, progress)
    if given.auto3dseg:
        print(f"Wrote both arms for Auto3DSeg; run them with: sh {script}")
        return
    tell(report, given.json)


def _prepare(
    given: argparse.Namespace, progress: ProgressBar
) -> tuple[list[StudyCase], list[StudyCase], StudySettings]:
    """Real and synthetic cases, made where they are not given, and the settings."""
    from maisi.datasets import read_dataset
    from maisi.evaluate.study.cases import given_synthetic, make_synthetic, present_ids, real_cases, render_phantoms
    from maisi.evaluate.study.settings import StudySettings, read_classes
    from maisi.labels import LESIONS
    from maisi.models.variants import get_variant

    options = read_options(given)
    names = [name.strip() for name in given.classes.split(",") if name.strip()]
    choices = {key: getattr(given, key) for key in ("folds", "ratio", "train_steps", "patch", "width", "batch", "seed")}
    choices |= {"spacing": given.spacing, "window": tuple(given.window)}
    StudySettings(read_classes(names, LESIONS), **choices)  # says what is wrong before anything is made
    get_variant(options.model)
    if not 1 <= given.phantoms <= 10_000:
        raise InputError(f"The number of phantoms must be from 1 to 10000, got {given.phantoms}.")
    dataset = read_dataset(given.real, given.labels_from) if given.real else None
    extra = read_dataset(given.synthetic, given.labels_from) if given.synthetic else None
    try:
        given.output.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {given.output} cannot be made ({error.strerror}); choose another.") from error
    real = real_cases(
        dataset or render_phantoms(given.output / "real", given.phantoms, progress), given.folds, given.seed
    )
    settings = StudySettings(read_classes(names, present_ids(real)), **choices)
    if extra is not None:
        return real, given_synthetic(extra, real), settings
    made, notices = make_synthetic(real, given.output / "synthetic", given.ratio, options, progress)
    print_notes(notices)
    return real, made, settings
