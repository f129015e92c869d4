"""How segments are drawn, and which side of the patient is where."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.slicer_core import segmentNamed, slicer
from maisi.labels import BODY
from maisi.volume import LabelVolume
from MAISISynthLib.LabelMapping import describeSegment
from MAISISynthLib.SceneIO import addSegmentation
from MAISIWebLib.SegmentStyle import keptStyle, styleSegments


@pytest.fixture
def a_styled_segmentation(a_scene, a_liver_with_tumor):
    array = a_liver_with_tumor.array.copy()
    array[array == 0] = BODY
    node = addSegmentation(a_scene, LabelVolume(array, a_liver_with_tumor.affine), "Case")
    styleSegments(node)
    return node


def test_the_body_is_hidden_and_lesions_stand_out(a_styled_segmentation):
    display = a_styled_segmentation.GetDisplayNode()
    body, liver, tumor = (segmentNamed(a_styled_segmentation, n) for n in ("body", "liver", "hepatic tumor"))
    assert not display.GetSegmentVisibility(body)
    assert display.GetSegmentVisibility(liver)
    assert display.GetSegmentOpacity2DOutline(tumor) > display.GetSegmentOpacity2DOutline(liver)
    assert display.GetSegmentOpacity3D(tumor) > display.GetSegmentOpacity3D(liver)


def test_what_the_user_hid_stays_hidden_when_undo_replaces_the_segments(a_styled_segmentation):
    node, display = a_styled_segmentation, a_styled_segmentation.GetDisplayNode()
    liver = segmentNamed(node, "liver")
    display.SetSegmentVisibility(liver, False)
    earlier = slicer.vtkSegmentation()
    earlier.DeepCopy(node.GetSegmentation())
    added = slicer.vtkSegment()
    describeSegment(added, 23)
    earlier.AddSegment(added, "new")
    with keptStyle(node):
        node.GetSegmentation().DeepCopy(earlier)
    assert not display.GetSegmentVisibility(liver)
    assert not display.GetSegmentVisibility(segmentNamed(node, "body"))
    assert display.GetSegmentVisibility(segmentNamed(node, "spleen"))
    assert display.GetSegmentOpacity2DOutline("new") == 1.0


@pytest.mark.parametrize(
    ("orientation", "sides"),
    [
        ("Axial", {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        ("Coronal", {"left": "R", "right": "L", "top": "S", "bottom": "I"}),
        ("Sagittal", {"left": "A", "right": "P", "top": "S", "bottom": "I"}),
    ],
)
def test_sides_are_as_radiologists_look(a_scene, orientation, sides):
    pytest.importorskip("trame_slicer", reason='the browser workbench is not installed: pip install -e ".[web]"')
    from MAISIWebLib.ViewOverlay import sideLetters

    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(a_scene, True)
    node = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetOrientation(orientation)
    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    assert sideLetters(matrix) == sides
    turn = np.eye(4)
    turn[:3, :3] = [[0.98, -0.17, 0], [0.17, 0.98, 0], [0, 0, 1]]
    assert sideLetters(turn @ matrix) == sides, "the nearest side, where the slice is oblique"
