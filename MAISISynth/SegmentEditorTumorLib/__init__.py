"""The Segment Editor effect "Tumor". Slicer takes the name of this folder for the effect's module."""

from SegmentEditorTumorLib.SegmentEditorEffect import SegmentEditorEffect

__all__ = ["SegmentEditorEffect"]
