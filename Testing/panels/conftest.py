"""Fixtures of the panels' tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture
def a_panel(monkeypatch, tmp_path) -> SimpleNamespace:
    """What a presenter of MAISITrain needs, with settings that last as long as the test."""
    from helpers.train_panel import FakeLogic, FakeView
    from MAISILib.Settings import Settings
    from MAISITrainLib.TrainSettings import TrainSettings

    monkeypatch.setenv("MAISI_MODELS", str(tmp_path / "models"))
    return SimpleNamespace(view=FakeView(), logic=FakeLogic(), settings=TrainSettings(), machine=Settings(), asked=[])
