"""Fixtures of the backend tests."""

import numpy as np
import pytest

from helpers.tiny_model import write_tiny_model
from helpers.vocabulary import forgotten_afterwards
from maisi.volume import LabelVolume


@pytest.fixture(autouse=True)
def an_empty_models_folder(tmp_path_factory, monkeypatch):
    """Models of whoever runs the tests play no part in them."""
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path_factory.getbasetemp() / "no models"))


@pytest.fixture(autouse=True)
def what_was_learned_is_forgotten():
    """Lesion classes that a test adds to the vocabulary are gone after it."""
    with forgotten_afterwards():
        yield


@pytest.fixture(scope="session")
def a_models_folder(tmp_path_factory):
    """A folder with tiny models of random weights: "tiny", and "vivid", on whose images the mask shows."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_model(folder)
    write_tiny_model(folder, "vivid", mask_strength=16.0)
    return folder


@pytest.fixture
def a_tiny_model(a_models_folder, monkeypatch):
    """The name of a model that runs in a moment."""
    monkeypatch.setenv("MAISI_MODELS", str(a_models_folder))
    return "tiny"


@pytest.fixture
def a_vivid_model(a_tiny_model):
    """The name of one on whose images the mask shows."""
    return "vivid"


@pytest.fixture
def a_torso_with_a_liver():
    """A body, a liver and a spleen on an oblique grid of 40 x 36 x 34 voxels of 3 mm, right to left, K downward."""
    array = np.zeros((40, 36, 34), np.uint8)
    array[3:37, 4:32, :] = 200
    array[8:22, 10:28, 6:28] = 1
    array[27:34, 10:20, 10:22] = 3
    turn = np.array([[-0.98, -0.199, 0], [-0.199, 0.98, 0], [0, 0, -1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * 3.0
    affine[:3, 3] = [61.0, -40.0, 33.0]
    return LabelVolume(array, affine)


@pytest.fixture
def a_torso_with_a_liver_lesion(a_torso_with_a_liver):
    """The same with a hepatic tumor of 6 x 6 x 6 voxels."""
    array = a_torso_with_a_liver.array.copy()
    array[12:18, 15:21, 12:18] = 26
    return LabelVolume(array, a_torso_with_a_liver.affine)
