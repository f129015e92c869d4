"""A lesion class of the user's own in the scene: placed, moved, healed, and saved like any tumor."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.grids import anOblique
from helpers.vocabulary import forgotten_afterwards
from maisi.labels import find_label
from maisi.new_classes import NewClass, learn
from maisi.volume import LabelVolume

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")

from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, readLabels
from MAISISynthLib.TumorEdit import TumorEdit

AFFINE, NEW, KIDNEY, LIVER = anOblique(spacing=(1.5, 1.5, 2.0)), 133, 14, 1


@pytest.fixture
def a_learned_class():
    """An angiomyolipoma of the kidneys, known in this test only."""
    with forgotten_afterwards():
        learn([NewClass(NEW, "renal angiomyolipoma", (5, 14))])
        yield


@pytest.fixture
def a_segmentation(a_scene):
    array = np.zeros((40, 36, 28), np.uint8)
    array[2:20, 3:30, 3:25] = LIVER
    array[22:38, 3:33, 3:25] = KIDNEY
    return addSegmentation(a_scene, LabelVolume(array, AFFINE), "Case")


def ras(*index: float) -> tuple[float, ...]:
    return tuple(AFFINE[:3, :3] @ index + AFFINE[:3, 3])


def test_it_is_placed_in_its_organ_moved_and_removed(a_learned_class, a_segmentation):
    before = readLabels(a_segmentation, mapSegments(a_segmentation).ids).array
    tumors = TumorEdit(a_segmentation)
    segmentId = tumors.place(ras(30, 12, 12), radius=7, label=NEW)
    segment = a_segmentation.GetSegmentation().GetSegment(segmentId)
    assert segment.GetName() == "renal angiomyolipoma"
    after = readLabels(a_segmentation, mapSegments(a_segmentation).ids).array
    assert set(after[after != before]) == {NEW}
    assert set(before[after != before]) == {KIDNEY}
    tumors.move(segmentId, np.subtract(ras(30, 20, 12), ras(30, 12, 12)))
    assert mapSegments(a_segmentation).ids[segmentId] == NEW
    tumors.remove(segmentId)
    assert np.array_equal(readLabels(a_segmentation, mapSegments(a_segmentation).ids).array, before)


def test_a_painted_segment_is_known_by_its_name_and_heals(a_learned_class, a_segmentation):
    array = readLabels(a_segmentation, mapSegments(a_segmentation).ids).array.copy()
    array[28:32, 10:14, 10:14] = find_label("hepatic tumor")
    node = addSegmentation(a_segmentation.GetScene(), LabelVolume(array, AFFINE), "Painted")
    segmentation = node.GetSegmentation()
    segmentId = next(i for i, label in mapSegments(node).ids.items() if label == 26)
    segment = segmentation.GetSegment(segmentId)
    segment.RemoveTag("MAISI.Label")
    segment.RemoveTag(segment.GetTerminologyEntryTagName())
    segment.SetName("Renal Angiomyolipoma")
    assert mapSegments(node).ids[segmentId] == NEW
    TumorEdit(node).move(segmentId, np.subtract(ras(30, 20, 12), ras(30, 12, 12)))
    moved = readLabels(node, mapSegments(node).ids).array
    assert (moved[28:32, 10:14, 10:14] == KIDNEY).all()
    assert (moved == NEW).any()
