"""The scanner's noise: as strong as told, the same for the same seed, and no obstacle to local edits."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from maisi.editing import edit
from maisi.labels import BACKGROUND
from maisi.models.variants import get_variant
from maisi.runs import RUNS
from maisi.scanner_noise import ScannerNoise
from maisi.synthesis import synthesize
from maisi.train.losses.scanner import as_scanned


@pytest.fixture
def a_noisy_model(a_models_folder, tmp_path, monkeypatch):
    """The vivid model, twice: "vivid", and "noisy" with 20 HU of noise."""
    for path in a_models_folder.glob("vivid.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    card = json.loads((tmp_path / "vivid.json").read_text())
    card["name"] = "noisy"
    card["model"]["noise"] = {"hu": 20.0, "blur": 0.5}
    (tmp_path / "noisy.json").write_text(json.dumps(card))
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    yield "noisy"
    RUNS.clear()


@pytest.mark.parametrize(("blur", "correlation"), [(0.35, 0.03), (0.45, 0.17), (0.5, 0.26)])
def test_strength_and_correlation_are_as_told(blur, correlation):
    field = ScannerNoise(12.0, blur).field((48, 40, 44), seed=3)
    assert field.std() == pytest.approx(12, rel=0.01)
    assert abs(field.mean()) < 0.5
    for axis in range(3):
        neighbor = np.roll(field, 1, axis)
        assert (field * neighbor).mean() / field.var() == pytest.approx(correlation, abs=0.03)


def test_it_is_added_where_the_patient_is(a_noisy_model, a_torso_with_a_liver):
    noisy = synthesize(a_torso_with_a_liver, model="noisy", seed=1).image.array.astype(float)
    smooth = synthesize(a_torso_with_a_liver, model="vivid", seed=1).image.array
    difference, air = noisy - smooth, a_torso_with_a_liver.array == BACKGROUND
    assert (difference[air] == 0).all()
    assert 8 < difference[~air].std() < 22  # less on a grid between the model's voxels
    assert (noisy == synthesize(a_torso_with_a_liver, model="noisy", seed=1).image.array).all()
    assert (noisy != synthesize(a_torso_with_a_liver, model="noisy", seed=2).image.array).any()


def test_an_edit_has_the_noise_of_the_whole(a_noisy_model, a_torso_with_a_liver, a_torso_with_a_liver_lesion):
    edited = {}
    for model in ("noisy", "vivid"):
        first = synthesize(a_torso_with_a_liver, model=model, seed=1).image
        second = edit(first, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=model, seed=1).image
        changed = a_torso_with_a_liver.array != a_torso_with_a_liver_lesion.array
        far = ndimage.distance_transform_edt(~changed, sampling=a_torso_with_a_liver.spacing) > 8
        assert (first.array[far] == second.array[far]).all()
        edited[model] = first.array.astype(float), second.array.astype(float)
    before, after = (edited["noisy"][n] - edited["vivid"][n] for n in (0, 1))
    assert np.abs(before - after).max() <= 2  # rounding


def test_judges_of_realism_see_noise_of_that_strength():
    scale = get_variant("embedded").intensity
    smooth = scale.to_unit(torch.full((8, 1, 24, 24, 24), 60.0))
    seen = scale.to_hu(as_scanned(smooth, ScannerNoise(12.0), scale, torch.Generator().manual_seed(0)))
    deviations = (seen - 60).std((1, 2, 3, 4))
    assert abs(float(seen.mean()) - 60) < 0.5
    assert 0.6 * 12 < float(deviations.min()) < float(deviations.max()) < 1.4 * 12
