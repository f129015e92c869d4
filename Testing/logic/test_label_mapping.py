"""Segment -> MAISI label: by tag, terminology, name; and what is said about the rest."""

from __future__ import annotations

import pytest

from helpers.slicer_core import addSegmentation, slicer
from maisi.labels import BODY, LABELS, find_label
from MAISISynthLib.LabelMapping import LABEL_TAG, describeSegment, mapSegments

LIVER, TUMOR, SPLEEN = (find_label(name) for name in ("liver", "hepatic tumor", "spleen"))
NEOPLASM_IN_LIVER = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure~"
    "SCT^108369006^Neoplasm~^^~Anatomic codes - DICOM master list~SCT^10200004^Liver~^^"
)
KIDNEY_LEFT = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~"
    "SCT^64033007^Kidney~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
)


@pytest.fixture
def a_segmentation(a_scene):
    return addSegmentation(None)


def add(node, name: str, terminology: str = "", tag: str | None = None) -> str:
    segment = slicer.vtkSegment()
    segment.SetName(name)
    if terminology:
        segment.SetTerminology(terminology)
    if tag is not None:
        segment.SetTag(LABEL_TAG, tag)
    segmentId = node.GetSegmentation().GenerateUniqueSegmentID("x")
    node.GetSegmentation().AddSegment(segment, segmentId)
    return segmentId


def mapped(node) -> list[int]:
    return list(mapSegments(node).ids.values())


@pytest.mark.parametrize(
    ("name", "label"),
    [("Liver", LIVER), ("spleen_1", SPLEEN), ("Liver tumour", TUMOR), ("kidney_left", find_label("left kidney"))],
)
def test_a_plain_name_is_enough_with_slicers_default_terminology(a_segmentation, name, label):
    segmentId = a_segmentation.GetSegmentation().AddEmptySegment("", name)
    assert "Tissue" in a_segmentation.GetSegmentation().GetSegment(segmentId).GetTerminology()
    assert mapped(a_segmentation) == [label]


def test_terminology_is_enough_without_a_name(a_segmentation):
    add(a_segmentation, "Segment_1", NEOPLASM_IN_LIVER)
    add(a_segmentation, "Segment_2", KIDNEY_LEFT)
    assert mapped(a_segmentation) == [TUMOR, find_label("left kidney")]
    assert mapSegments(a_segmentation).notices == []


def test_terminology_wins_over_the_name_and_says_so(a_segmentation):
    add(a_segmentation, "Spleen", NEOPLASM_IN_LIVER)
    assert mapped(a_segmentation) == [TUMOR]
    assert mapSegments(a_segmentation).notices == [
        "The segment 'Spleen' is taken as hepatic tumor, as its terminology says, not as spleen."
    ]


def test_the_tag_wins_over_everything(a_segmentation):
    add(a_segmentation, "Spleen", NEOPLASM_IN_LIVER, tag=str(LIVER))
    assert mapped(a_segmentation) == [LIVER]
    assert mapSegments(a_segmentation).notices == []


@pytest.mark.parametrize("tag", ["", "liver", "-1", "0", "2", "999", "1.5"])
def test_a_tag_that_is_no_label_is_not_followed(a_segmentation, tag):
    """0 is background and 2 a placeholder that no network knows."""
    add(a_segmentation, "Spleen", tag=tag)
    assert mapped(a_segmentation) == [SPLEEN]


def test_broken_terminology_is_not_followed(a_segmentation):
    add(a_segmentation, "Spleen", terminology="rubbish~~~^^^")
    assert mapped(a_segmentation) == [SPLEEN]


def test_what_is_not_recognized_is_named(a_segmentation):
    add(a_segmentation, "Liver")
    add(a_segmentation, "Segment_7")
    add(a_segmentation, "my region")
    mapping = mapSegments(a_segmentation)
    assert mapping.unmapped == ["Segment_7", "my region"]
    assert mapping.notices == [
        "Not recognized and left out: 'Segment_7', 'my region'. Rename them, or set their terminology, to use them."
    ]


def test_two_livers_are_told_but_two_tumors_are_normal(a_segmentation):
    for name in ("Liver", "liver_2", "hepatic tumor", "liver lesion", "body"):
        add(a_segmentation, name)
    mapping = mapSegments(a_segmentation)
    assert mapping.duplicates == {LIVER: ["Liver", "liver_2"]}
    assert mapping.notices == ["The segments 'Liver', 'liver_2' are all taken as liver and were united."]
    assert mapping.lesionCount == 2
    assert mapping.organs == ["liver"]


def test_a_described_segment_is_recognized_by_each_of_its_marks(a_segmentation):
    labels = [i for i, label in LABELS.items() if i and not label.unused]
    for label in labels:
        segment = slicer.vtkSegment()
        describeSegment(segment, label)
        add(a_segmentation, segment.GetName())
        add(a_segmentation, "nothing", segment.GetTerminology())
        add(a_segmentation, "nothing", tag=str(label))
    assert mapped(a_segmentation) == [label for label in labels for _mark in range(3)]


def test_body_is_a_label(a_segmentation):
    add(a_segmentation, "Body")
    assert mapped(a_segmentation) == [BODY]
