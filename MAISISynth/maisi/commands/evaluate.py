"""``maisi evaluate``: how good images and models are, each as a table and as JSON."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maisi.commands.console import ProgressBar
from maisi.commands.evaluate_models import add_reconstruction, add_steps
from maisi.commands.evaluate_study import add_study
from maisi.commands.evaluation import DATASET, add_json, add_network, tell, three
from maisi.commands.parsing import add_command, add_labels_from
from maisi.errors import InputError

if TYPE_CHECKING:
    from maisi.evaluate.feature_cache import Extractor


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``evaluate`` and its subjects."""
    evaluate = commands.add_parser("evaluate", help="Measure images and models.", description=__doc__.splitlines()[0])
    subjects = evaluate.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    _add_hu(subjects)
    _add_fidelity(subjects)
    _add_fid(subjects)
    add_reconstruction(subjects)
    add_steps(subjects)
    add_study(subjects)


# ---- HU


def _add_hu(subjects: argparse._SubParsersAction) -> None:
    parser = add_command(subjects, "hu", _hu, "Compare the median HU of the organs of many CTs with those of real CTs.")
    parser.add_argument("dataset", metavar="DATASET", help=f"CTs and their labels: {DATASET}")
    parser.add_argument("--statistics", metavar="FILE", help="ranges learned with: maisi check --learn")
    add_labels_from(parser)
    add_json(parser)


def _hu(given: argparse.Namespace) -> None:
    from maisi.checks.hu import BANDS
    from maisi.checks.statistics import read_bands
    from maisi.datasets import read_dataset
    from maisi.evaluate.hu import evaluate_hu

    bands = read_bands(given.statistics) if given.statistics else BANDS
    with ProgressBar() as progress:
        report = evaluate_hu(read_dataset(given.dataset, given.labels_from), bands, progress)
    tell(report, given.json)


# ---- lesions


def _add_fidelity(subjects: argparse._SubParsersAction) -> None:
    text = "Measure the contrast of lesions to their organs: its sign, its size, and whether it fills the mask."
    parser = add_command(subjects, "fidelity", _fidelity, text)
    parser.add_argument("dataset", metavar="DATASET", help=f"CTs and labels with lesions: {DATASET}")
    parser.add_argument("--reference", metavar="DATASET", help="real CTs with such lesions: what is expected")
    parser.add_argument("--min-mm", type=float, default=10.0, metavar="MM", help="judge lesions from here (default 10)")
    parser.add_argument("--segmenter", type=Path, metavar="FILE", help="a TorchScript network instead of a threshold")
    parser.add_argument("--segmenter-class", type=int, default=1, metavar="N", help="its number of lesion (default 1)")
    parser.add_argument(
        "--segmenter-window", type=float, nargs=2, default=(-1000.0, 1000.0), metavar="HU", help="its input range"
    )
    add_labels_from(parser)
    add_json(parser)


def _fidelity(given: argparse.Namespace) -> None:
    from maisi.datasets import read_dataset
    from maisi.evaluate.fidelity import evaluate_fidelity

    segmenter = None
    if given.segmenter is not None:
        from maisi.evaluate.segmenter import Segmenter

        segmenter = Segmenter(given.segmenter, given.segmenter_class, tuple(given.segmenter_window))
    dataset = read_dataset(given.dataset, given.labels_from)
    reference = read_dataset(given.reference, given.labels_from) if given.reference else None
    with ProgressBar() as progress:
        report = evaluate_fidelity(dataset, reference, segmenter, given.min_mm, progress)
    tell(report, given.json)


# ---- FID


def _add_fid(subjects: argparse._SubParsersAction) -> None:
    text = "2.5D FID of two sets of CTs. Values of different networks or settings cannot be compared."
    parser = add_command(subjects, "fid", _fid, text)
    for name in ("real", "synthetic"):
        parser.add_argument(name, metavar=name.upper(), help=f"{name} CTs: {DATASET}; labels are not needed")
    add_network(parser)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of computed features (default ~/.maisi/features)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    how = parser.add_argument_group("which slices")
    how.add_argument("--spacing", type=three(float), metavar="X,Y,Z", help="resample to this, mm (default: as it is)")
    how.add_argument("--size", type=three(int), metavar="X,Y,Z", help="pad with air and crop to this many voxels")
    how.add_argument("--no-pad", action="store_true", help="with --size: crop only")
    how.add_argument("--no-crop", action="store_true", help="with --size: pad only")
    how.add_argument("--center", type=float, default=0.5, metavar="FRACTION", help="of the slices (default 0.5)")
    text = "scale these HU to what the network sees (default -1000 1000, as the reference)"
    how.add_argument("--window", type=float, nargs=2, default=(-1000.0, 1000.0), metavar="HU", help=text)
    parser.add_argument("--nproc", type=int, default=1, metavar="P", help="processes, one for a GPU")
    parser.add_argument("--job", type=Path, metavar="FILE", help="compute nothing, write a job for torchrun instead")
    add_json(parser)


def _fid(given: argparse.Namespace) -> None:
    from maisi.datasets import read_dataset
    from maisi.evaluate.fid import fid_report
    from maisi.evaluate.launch import write_job

    if not 1 <= given.nproc <= 256:
        raise InputError(f"The number of processes must be from 1 to 256, got {given.nproc}.")
    real, synthetic = ([scan.image for scan in read_dataset(path).scans] for path in (given.real, given.synthetic))
    extractor = _extractor(given)
    if given.job is not None:
        write_job(given.job, extractor, [*real, *synthetic])
        print(f"Wrote {given.job}; run: torchrun --nproc-per-node N -m maisi.evaluate {given.job}")
        return
    with ProgressBar() as progress:
        report = fid_report(real, synthetic, extractor, given.nproc, progress)
    report.result["datasets"] = {"real": given.real, "synthetic": given.synthetic}
    tell(report, given.json)


def _extractor(given: argparse.Namespace) -> Extractor:
    from maisi.evaluate.feature_cache import DEFAULT_CACHE, Extractor
    from maisi.evaluate.slices import SliceSettings

    settings = SliceSettings(
        given.spacing, given.size, not given.no_pad, not given.no_crop, given.center, tuple(given.window)
    )
    return Extractor(given.network, settings, given.cache or DEFAULT_CACHE, given.device, given.batch)
