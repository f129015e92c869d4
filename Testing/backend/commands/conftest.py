"""Fixtures of the command line's tests."""

import types

import numpy as np
import pytest

from helpers.command_line import AFFINE, SHAPE, FakeSynthesis, write_labels
from maisi.files import write_volume
from maisi.labels import BODY
from maisi.volume import ImageVolume


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with labels, the same with a lesion, and a CT; the working directory of the test."""
    labels = np.full(SHAPE, BODY, np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    write_labels(tmp_path / "labels.nii.gz", labels)
    labels[8:12, 8:12, 8:12] = 26
    write_labels(tmp_path / "after.nii.gz", labels)
    write_volume(tmp_path / "ct.nii.gz", ImageVolume(np.full(SHAPE, 50, np.int16), AFFINE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake(monkeypatch):
    """Syntheses without networks; see FakeSynthesis."""
    synthesis = FakeSynthesis()
    for name, module in {"synthesize": "synthesis", "edit": "editing", "generate": "synthesis"}.items():
        monkeypatch.setattr(f"maisi.{module}.{name}", getattr(synthesis, name))
    told = types.SimpleNamespace(
        device="cpu", precision="float32", memory_gb=1.5, seconds=12.0, model_shape=(32, 32, 32)
    )
    monkeypatch.setattr("maisi.planning.plan", lambda *_: told)
    return synthesis
