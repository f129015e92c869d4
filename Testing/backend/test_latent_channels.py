"""A model whose card tells another number of latent channels is planned, sampled, edited and encoded like any other."""

import numpy as np
import pytest
from scipy import ndimage

from helpers.tiny_model import write_tiny_model
from maisi.editing import edit
from maisi.models.variants import get_variant
from maisi.options import Options
from maisi.planning import plan
from maisi.runs import RUNS
from maisi.synthesis import synthesize

CHANNELS = 6


@pytest.fixture
def a_wide_model(tmp_path, monkeypatch):
    """The name of a tiny model with six latent channels."""
    write_tiny_model(tmp_path, "wide", mask_strength=8.0, latent_channels=CHANNELS)
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    yield "wide"
    RUNS.clear()


def test_images_come_from_as_many_latents(a_wide_model, a_torso_with_a_liver):
    plan(a_torso_with_a_liver.shape, a_torso_with_a_liver.affine, Options(model=a_wide_model)).check()
    made = synthesize(a_torso_with_a_liver, model=a_wide_model, seed=3)
    assert get_variant(a_wide_model).latent_channels == made.latents.shape[0] == CHANNELS
    again = synthesize(a_torso_with_a_liver, model=a_wide_model, seed=3)
    assert (made.image.array == again.image.array).all()


@pytest.mark.parametrize("kept", [True, False])  # without its run the image is encoded first
def test_edits_stay_where_they_are(a_wide_model, a_torso_with_a_liver, a_torso_with_a_liver_lesion, kept):
    image = synthesize(a_torso_with_a_liver, model=a_wide_model, seed=3).image
    if not kept:
        RUNS.clear()
    edited = edit(image, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_wide_model, seed=3).image
    changed = a_torso_with_a_liver.array != a_torso_with_a_liver_lesion.array
    far = ndimage.distance_transform_edt(~changed, sampling=image.spacing) > 12  # mm: one latent
    assert (edited.array[far] == image.array[far]).all()
    assert np.abs(edited.array[changed].astype(int) - image.array[changed]).max() > 0
