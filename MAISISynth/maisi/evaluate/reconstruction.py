"""What an autoencoder loses: real CTs encoded and decoded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.metrics import PSNRMetric, SSIMMetric

from maisi.datasets import Dataset
from maisi.decoding import decode, encode
from maisi.engine import memory_errors
from maisi.errors import InputError
from maisi.evaluate.report import Report, number
from maisi.evaluate.slices import PLANES, WINDOW_HU, batches
from maisi.files import read_image
from maisi.models.fast import accelerate
from maisi.models.features import FeatureNetwork, perceptual_distance
from maisi.models.variants import get_variant
from maisi.models.weights import Networks, load_networks
from maisi.options import Options
from maisi.planning import Plan, plan
from maisi.volume import ImageVolume

BODY_HU = -900  # voxels above it count for the mean difference
_SSIM_WINDOW = 11  # voxels
_METRICS = {"mae_hu": 1, "psnr_db": 2, "ssim": 4, "perceptual": 4}  # and digits in the table


def evaluate_reconstruction(
    dataset: Dataset,
    options: Options,
    network: FeatureNetwork,
    batch: int = 32,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Distances of the CTs of a data set to what the model's autoencoder makes of them.

    Compared on the model's grid, within the window of -1000 to 1000 HU and the field of view of the CT.

    Args:
        options: model, device and precision. network: of the perceptual distance, which is told with its name.

    Raises:
        InputError: a CT cannot be used. WeightsError, OutOfMemoryError: as in a synthesis.
    """
    variant = get_variant(options.model)
    if variant.image != "ct":
        raise InputError(f"The model {variant.name} makes no CT; reconstruction is measured in HU.")
    cases, networks = [], None
    for done, scan in enumerate(dataset.scans, 1):
        image = read_image(scan.image)
        planned = plan(image.shape, image.affine, options)
        networks = networks or _autoencoder(planned, options)
        first, second = reconstruct(networks, image, planned)
        cases.append({"case": scan.case, **compare(first, second, network.to(networks.device), batch)})
        progress("reconstruct", done, len(dataset.scans))
    settings = {"dataset": dataset.name, "model": variant.name, "model_sha256": variant.checksum}
    return _report(settings, cases, network)


def reconstruct(networks: Networks, image: ImageVolume, planned: Plan) -> tuple[np.ndarray, np.ndarray]:
    """The CT and its reconstruction on the model's grid: ``[I, J, K]`` HU in the window, both cropped to the CT."""
    grid, tiles = planned.grid, planned.decoding
    given = grid.image_to_model(image)
    with memory_errors(planned.device):
        latents = encode(networks, given, tiles=tiles and replace(tiles, cuts=()))
        made = decode(networks, latents, affine=grid.model_affine, tiles=tiles)
    box = grid.box_to_model(tuple(slice(0, n) for n in image.shape))
    return tuple(np.clip(volume.array[box], *WINDOW_HU).astype(np.float32) for volume in (given, made))


def compare(first: np.ndarray, second: np.ndarray, network: FeatureNetwork, batch: int) -> dict[str, float]:
    """Mean absolute difference in the body (HU), PSNR (dB), SSIM and perceptual distance of two volumes in HU.

    Raises:
        InputError: too small for SSIM's window of 11 voxels.
    """
    if min(first.shape) < _SSIM_WINDOW:
        raise InputError(f"A CT of {first.shape} voxels is too small; SSIM needs {_SSIM_WINDOW} along each axis.")
    low, high = WINDOW_HU
    units = [(volume - low) / (high - low) for volume in (first, second)]
    a, b = (torch.from_numpy(unit)[None, None] for unit in units)
    body = first > BODY_HU
    return {
        "mae_hu": float(np.abs(first - second)[body].mean()) if body.any() else 0.0,
        "psnr_db": float(PSNRMetric(max_val=1.0)(a, b)),
        "ssim": float(SSIMMetric(spatial_dims=3, data_range=1.0, win_size=_SSIM_WINDOW)(a, b)),
        "perceptual": _perceptual(*units, network, batch),
    }


@torch.inference_mode()
def _perceptual(first: np.ndarray, second: np.ndarray, network: FeatureNetwork, batch: int) -> float:
    """Mean over the slices of each plane, then over the planes."""
    device = next(network.parameters()).device
    planes = []
    for axis in PLANES.values():
        stacks = (batches(np.moveaxis(volume, axis, 0), batch) for volume in (first, second))
        pairs = (
            [torch.from_numpy(part.copy())[:, None].to(device) for part in pair] for pair in zip(*stacks, strict=True)
        )
        planes.append(float(torch.cat([perceptual_distance(network, *pair) for pair in pairs]).mean()))
    return float(np.mean(planes))


def _autoencoder(planned: Plan, options: Options) -> Networks:
    networks = load_networks(get_variant(options.model), torch.device(planned.device), ("autoencoder",))
    return replace(networks, autoencoder=accelerate(networks.autoencoder, planned.dtype))


def _report(settings: dict[str, Any], cases: list[dict[str, Any]], network: FeatureNetwork) -> Report:
    means = {name: float(np.mean([case[name] for case in cases])) for name in _METRICS}
    rows = [("CASE", "MAE HU", "PSNR DB", "SSIM", f"PERCEPTUAL ({network.name})")]
    for case in [*cases, {"case": "mean", **means}]:
        rows.append((case["case"], *(number(case[name], digits) for name, digits in _METRICS.items())))
    settings |= {"network": network.name, "network_sha256": network.checksum, "window_hu": WINDOW_HU}
    return Report("reconstruction", rows, {**settings, "cases": len(cases), "mean": means, "details": cases})
