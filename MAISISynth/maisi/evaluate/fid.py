"""Frechet distance between the features of two sets of volumes, in three planes (2.5D FID, FACTS 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maisi.errors import InputError
from maisi.evaluate.feature_cache import Extractor, extract_all
from maisi.evaluate.report import Report, number
from maisi.evaluate.slices import PLANES


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Frechet distance of two Gaussians with the means and (unbiased) covariances of samples.

    The trace of the root of the product of both covariances is the sum of the singular values of ``A B^T``, where A and
    B are the centered samples: exact, and without a matrix root that gets complex where there are fewer samples than
    features.

    Args:
        a, b: ``[samples, C]``, at least two samples each.

    Source: Heusel et al. 2017, eq. 6.
    """
    a, b = a.double(), b.double()
    (mean_a, root_a), (mean_b, root_b) = _moments(a), _moments(b)
    common = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * common
    return max(float(distance), 0.0)


def _moments(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[C]``, and a matrix ``[at most C, C]`` whose square is the covariance."""
    mean = samples.mean(0)
    centered = (samples - mean) / (len(samples) - 1) ** 0.5
    return mean, centered if len(samples) <= samples.shape[1] else torch.linalg.qr(centered, mode="r").R


def fid(
    real: Sequence[Path],
    synthetic: Sequence[Path],
    extractor: Extractor,
    processes: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """2.5D FID of two sets of image files.

    Returns:
        ``network`` (its name) and ``network_sha256``, ``settings``, ``volumes`` and ``slices`` (of each set and plane),
        ``features``, and ``fid``: planes xy, yz, zx and their ``mean``.

    Raises:
        InputError: a file or the network cannot be used, or a set has too few slices.
    """
    extract_all(extractor, [*real, *synthetic], processes, progress)
    sets = {"real": real, "synthetic": synthetic}
    features = {name: _stacked(extractor, files) for name, files in sets.items()}
    for name, planes in features.items():
        if min(len(found) for found in planes.values()) < 2:
            raise InputError(
                f"The {name} set has a single slice in a plane; give more volumes or more of their slices."
            )
    distances = {plane: frechet_distance(features["synthetic"][plane], features["real"][plane]) for plane in PLANES}
    return {
        "network": extractor.loaded.name,
        "network_sha256": extractor.loaded.checksum,
        "settings": extractor.settings.to_json(),
        "volumes": {name: len(files) for name, files in sets.items()},
        "slices": {name: {p: len(found) for p, found in planes.items()} for name, planes in features.items()},
        "features": features["real"]["xy"].shape[1],
        "fid": {**distances, "mean": sum(distances.values()) / len(distances)},
    }


def fid_report(
    real: Sequence[Path],
    synthetic: Sequence[Path],
    extractor: Extractor,
    processes: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """:func:`fid` as a report."""
    result = fid(real, synthetic, extractor, processes, progress)
    volumes, distances = result["volumes"], result["fid"]
    rows = [
        ("NETWORK", "REAL", "SYNTHETIC", *(name.upper() for name in distances)),
        (result["network"], *map(str, volumes.values()), *(number(value, 3) for value in distances.values())),
    ]
    return Report("fid", rows, result, notices(result))


def notices(result: dict[str, Any]) -> list[str]:
    """What the reader of an FID should know."""
    fewest = min(min(planes.values()) for planes in result["slices"].values())
    if fewest >= result["features"]:
        return []
    return [
        f"There are {fewest} slices in a plane for {result['features']} features, so the value is too large by an "
        "amount that depends on their number; compare it only with sets of the same size."
    ]


def _stacked(extractor: Extractor, files: Sequence[Path]) -> dict[str, Tensor]:
    found = [extractor.features(path) for path in files]
    return {plane: torch.cat([planes[plane] for planes in found]) for plane in PLANES}
