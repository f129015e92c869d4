"""The segment editor's own tools, and segments for tumors that are painted by hand."""

from __future__ import annotations

from dataclasses import dataclass

import slicer
from trame_server import Server
from trame_server.utils.typed_state import TypedState
from trame_slicer.app.logic.segmentation import SegmentEditorLogic
from trame_slicer.app.ui.segmentation import SegmentEditorUI
from trame_slicer.core import SlicerApp
from trame_slicer.segmentation import SegmentationEffectPaint, SegmentationOpacityEnum

from maisi.labels import LABELS, LESIONS, find_label
from maisi.models.variants import variants
from MAISISynthLib.LabelMapping import describeSegment
from MAISIWebLib.SegmentStyle import keptStyle, styleSegments


def lesionItems() -> list[dict[str, str | int]]:
    """The kinds of lesions to choose from, with those of the user's own models."""
    variants()
    return [{"title": LABELS[label].name, "value": label} for label in LESIONS]


@dataclass
class SegmentToolState:
    """The kind of tumor to paint, a MAISI id."""

    kind: int = find_label("hepatic tumor")


class SegmentTool:
    """Segments, their display, and undo."""

    def __init__(self, server: Server, app: SlicerApp) -> None:
        self._editor = app.segmentation_editor
        self._logic = SegmentEditorLogic(server, app)
        self.state = TypedState(server.state, SegmentToolState)
        self.editorState = self._logic._typed_state

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode:
        """The segmentation that is edited."""
        return self._editor.active_segmentation_node

    def connect(self, ui: SegmentEditorUI) -> None:
        """The page has the editor's widgets."""
        self._logic.set_ui(ui)
        display = self.editorState.data.segment_display
        display.opacity_2d.value = 1.0
        display.border_thickness.value = 2

    def open(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
    ) -> None:
        """Edit a segmentation over a CT."""
        self._editor.set_active_segmentation(segmentationNode, volumeNode)

    def editOn(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Another CT of the same segmentation is what thresholds and masks look at; undo is kept."""
        self._editor.active_segmentation.volume_node = volumeNode
        self._editor.editor_logic.SetSourceVolumeNode(volumeNode)

    def outline(self, only: bool) -> None:
        """Draw segments as outlines only, or filled too."""
        mode = SegmentationOpacityEnum.OUTLINE if only else SegmentationOpacityEnum.BOTH
        self.editorState.data.segment_display.opacity_mode = mode

    def show3D(self, shown: bool) -> None:
        """Make surfaces for the 3D view, which takes a moment, or drop them."""
        self.editorState.data.segment_display.show_3d = shown

    def paintNew(self) -> None:
        """A new empty segment of the chosen kind of tumor, with the brush on."""
        taken = self._editor.get_segment_names()
        segmentId = self._editor.add_empty_segment()
        segment = self._editor.get_segment(segmentId)
        describeSegment(segment, int(self.state.data.kind))
        name = segment.GetName()
        names = (name, *(f"{name} {number}" for number in range(2, len(taken) + 3)))
        segment.SetName(next(name for name in names if name not in taken))
        styleSegments(self.node, {segmentId})
        self._editor.active_segmentation.trigger_modified()
        self._editor.set_active_effect_type(SegmentationEffectPaint)

    def undo(self) -> None:
        """Take back the last act."""
        with keptStyle(self.node):
            self._editor.undo_stack.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        with keptStyle(self.node):
            self._editor.undo_stack.redo()
