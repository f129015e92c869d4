"""From segment to CT node with the real worker, the real engine, and a tiny model of random weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.grids import anOblique
from helpers.slicer_core import segmentNamed, setSegment, slicer
from helpers.tiny_model import write_tiny_model
from maisi.labels import BODY, find_label
from maisi.volume import LabelVolume
from MAISILib.Worker import Worker
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, readImage, readLabelmap
from MAISISynthLib.SynthesisLogic import MAISISynthLogic

LIVER, TUMOR = find_label("liver"), find_label("hepatic tumor")
SHAPE = (44, 36, 30)


@pytest.fixture(scope="module")
def a_logic(an_interpreter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_tiny_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAISI_MODELS", str(folder))
        logic = MAISISynthLogic(Worker(an_interpreter))
        yield logic
        logic.worker.close()


@pytest.fixture
def an_abdomen(a_scene):
    """Body, liver and a tumor of 6 voxels on an oblique, left-handed grid of 3 mm, as a segmentation."""
    array = np.zeros(SHAPE, np.uint8)
    array[4:40, 4:32, :] = BODY
    array[8:28, 8:28, 5:25] = LIVER
    array[12:18, 12:18, 10:16] = TUMOR
    affine = anOblique(spacing=(3, 3, 3), flip=(-1, 1, 1), degrees=(8, -6, 10))
    return addSegmentation(a_scene, LabelVolume(array, affine), "Abdomen")


def test_the_ct_lies_on_the_grid_and_the_same_seed_gives_it_again(a_logic, an_abdomen):
    volume = a_logic.synthesize(an_abdomen, seed=3, model="tiny", device="cpu")
    image, labels = readImage(volume), readLabelmap(volume)
    assert image.same_grid(labels, tolerance_mm=1e-6)
    assert image.shape == SHAPE
    assert (image.array[labels.array == 0] == -1000).all(), "air around the body"
    assert image.array[labels.array == BODY].std() > 0
    again = a_logic.synthesize(an_abdomen, seed=3, model="tiny", device="cpu")
    other = a_logic.synthesize(an_abdomen, seed=4, model="tiny", device="cpu")
    assert np.array_equal(readImage(again).array, image.array)
    assert not np.array_equal(readImage(other).array, image.array)
    info = json.loads(volume.GetAttribute("MAISI.Info"))
    assert (info["model"], info["seed"]) == ("tiny", 3)
    assert len(volume.GetAttribute("MAISI.ModelSha256")) == 64


def test_an_edited_tumor_changes_only_its_surroundings(a_logic, an_abdomen):
    before = a_logic.synthesize(an_abdomen, seed=3, model="tiny", device="cpu")
    tumor = np.zeros(SHAPE, bool)
    tumor[14:22, 14:22, 11:19] = True
    grid = slicer.util.getNode("Abdomen SYNTHETIC CT")
    setSegment(an_abdomen, segmentNamed(an_abdomen, "hepatic tumor"), tumor, grid)
    after = a_logic.resynthesize(before, an_abdomen, device="cpu")
    assert after.GetAttribute("MAISI.Model") == "tiny", "the model of the CT that is changed"
    changed = np.argwhere(readImage(after).array != readImage(before).array)
    assert len(changed)
    margin = 3  # voxels: 8 mm on a 3 mm grid
    assert (changed.min(0) >= np.array([12, 12, 10]) - margin).all()
    assert (changed.max(0) < np.array([22, 22, 19]) + margin).all()
    assert mapSegments(an_abdomen).unmapped == []
