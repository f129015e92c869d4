"""The sentence beside the button."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.slicer_core import addSegment, addSegmentation, addVolume
from MAISISynthLib.InputCheck import checkInput

SHAPE = (8, 8, 8)


@pytest.fixture
def a_segmentation(a_scene):
    return addSegmentation(addVolume(np.zeros(SHAPE, np.int16), np.diag([3.0, 3.0, 2.5, 1])))


def addNamed(node, *names: str) -> None:
    for name in names:
        node.GetSegmentation().AddEmptySegment("", name)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["Liver", "hepatic tumor"], "Liver and 1 lesion, 2 of 2 segments recognized; 3.0 x 3.0 x 2.5 mm"),
        (["Liver"], "Liver, 1 of 1 segments recognized; 3.0 x 3.0 x 2.5 mm"),
        (
            ["Liver", "Spleen", "liver tumor", "lung nodule", "what"],
            "Liver, spleen and 2 lesions, 4 of 5 segments recognized; 3.0 x 3.0 x 2.5 mm",
        ),
        (["Liver", "Spleen", "Aorta"], "3 organs, 3 of 3 segments recognized; 3.0 x 3.0 x 2.5 mm"),
        (["hepatic tumor"], "1 lesion, 1 of 1 segments recognized; 3.0 x 3.0 x 2.5 mm"),
        (["body"], "Body, 1 of 1 segments recognized; 3.0 x 3.0 x 2.5 mm"),
    ],
)
def test_a_usable_segmentation_is_summed_up(a_segmentation, names, sentence):
    addNamed(a_segmentation, *names)
    assert checkInput(a_segmentation).isValid() == (True, sentence)


def test_no_segmentation():
    assert checkInput(None).isValid() == (False, "Choose a segmentation.")


def test_no_segments(a_segmentation):
    assert checkInput(a_segmentation).isValid() == (
        False,
        "'Case' has no segments: draw or load organs first.",
    )


def test_no_segment_is_recognized(a_segmentation):
    addNamed(a_segmentation, "Segment_1", "ROI")
    assert checkInput(a_segmentation).isValid() == (
        False,
        "No segment of 'Case' was recognized (Segment_1, ROI): rename them, or set their terminology.",
    )


def test_no_grid(a_scene):
    node = addSegmentation(None)
    addNamed(node, "Liver")
    valid, sentence = checkInput(node).isValid()
    assert not valid
    assert "has no voxel grid" in sentence


def test_spacing_is_that_of_the_patient_on_an_oblique_grid(a_volume):
    node = addSegmentation(a_volume)
    addSegment(node, np.ones((24, 20, 16), bool), a_volume, "Liver")
    assert checkInput(node).summary.endswith("1.5 x 2.0 x 3.0 mm")
