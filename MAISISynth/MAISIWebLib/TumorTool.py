"""The Tumor panel: place, grow, move, turn, reshape, copy, remove lesions; each act is one step of undo."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import vtk
from trame_server import Server
from trame_server.utils.typed_state import TypedState
from trame_slicer.core import SlicerApp
from trame_slicer.segmentation.segmentation_undo_command import SegmentationLabelMapUndoCommand

from maisi.errors import InputError
from maisi.labels import LABELS, LESIONS
from maisi.masks.lesion import Lesion
from MAISILib.Translate import _
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.Sight import Sight, surfaceAt
from MAISISynthLib.TumorEdit import TumorEdit
from MAISISynthLib.TumorTool import TumorTool as MouseTool
from MAISIWebLib.SegmentStyle import styleSegments
from MAISIWebLib.TumorEffect import TumorEffect

WHEEL_STEP = 1.0  # mm
TURN = 15.0  # degrees
CLIPPED_TOLD = 0.1  # part of a lesion outside its organ that is worth telling


@dataclass
class TumorRow:
    """A lesion in the list."""

    segmentId: str = ""
    name: str = ""
    size: str = ""
    color: str = ""


@dataclass
class TumorState:
    """What the panel shows."""

    radius: float = 10.0
    placing: bool = False
    selected: str = ""
    message: str = ""
    rows: list[TumorRow] = field(default_factory=list)


class TumorTool:
    """Between the panel, the mouse and ``TumorEdit``."""

    def __init__(self, server: Server, app: SlicerApp, lookAt: Callable[[str], None]) -> None:
        """``lookAt`` shows a segment in the views."""
        self._editor = app.segmentation_editor
        self._lookAt = lookAt
        self._edit: TumorEdit | None = None
        self.state = TypedState(server.state, TumorState)
        self.state.bind_changes({self.state.name.radius: self._onRadius, self.state.name.placing: self._onPlacing})
        self._server = server
        self.effect = self._editor.get_effect(TumorEffect)
        self.effect.grab = self._grab
        self.effect.selectedLesion = self._selectedLesion
        self.effect.released.connect(self._onReleased)
        self.effect.scrolled.connect(self._onScrolled)
        self._editor.active_effect_name_changed.connect(self._onEffectChanged)

    def open(self) -> None:
        """The editor has a segmentation to work on."""
        self._edit = TumorEdit(self._editor.active_segmentation_node, self._editor.editor_node, _noState)
        self.activate()
        self.update()

    def activate(self) -> None:
        """The mouse now belongs to this tool."""
        self._editor.set_active_effect_type(TumorEffect)

    def update(self) -> None:
        """List the lesions again; call when the segmentation was edited."""
        node = self._editor.active_segmentation_node
        ids, drawn = mapSegments(node).ids, self._edit.lesions()
        segmentation = node.GetSegmentation()
        rows = [
            TumorRow(
                segmentId=segmentId,
                name=segmentation.GetSegment(segmentId).GetName(),
                size=self._size(segmentId) if segmentId in drawn else _("empty"),
                color="rgb({:.0f},{:.0f},{:.0f})".format(*LABELS[label].color),
            )
            for segmentId, label in ids.items()
            if label in LESIONS
        ]
        self.state.data.rows = rows
        if self.state.data.selected not in [row.segmentId for row in rows]:
            self.state.data.selected = rows[0].segmentId if rows else ""

    def select(self, segmentId: str) -> None:
        """Make a lesion the one that buttons act on, and show it."""
        self.state.data.selected = segmentId
        self._editor.set_active_segment_id(segmentId)
        self._lookAt(segmentId)
        self.activate()

    def showSelected(self) -> None:
        """Scroll the slices to the selected lesion."""
        self._lookAt(self.state.data.selected)

    def _size(self, segmentId: str) -> str:
        measure = self._edit.measure(segmentId)
        text = _("{diameter:.0f} mm, {volume:.1f} ml").format(diameter=measure.diameterMm, volume=measure.volumeMl)
        if measure.clipped >= CLIPPED_TOLD:
            text = _("{size}, {part:.0%} outside its organ").format(size=text, part=measure.clipped)
        return text

    # ---- what the user does

    def _grab(self, sight: Sight, renderer: vtk.vtkRenderer, xy: Sequence[float]) -> MouseTool | None:
        """A handle of the selected lesion, the lesion there, a new one while placing, or None.

        In a 3D view an old lesion has handles only: elsewhere the mouse turns the view.
        """
        state, tool = self.state.data, MouseTool(self._edit, self.state.data.radius)
        with self._told():
            if not state.placing and self._selectedLesion() and tool.grabHandle(state.selected, sight, xy):
                return tool
            if sight.isSlice:
                held = tool.grab(sight.under(xy), new=state.placing)
            else:
                surface = surfaceAt(renderer, xy) if state.placing else None
                held = surface is not None and tool.grab(surface, sight.line(xy)[1])
            if held:
                state.selected = tool.segmentId or state.selected
                return tool
        return None

    def _selectedLesion(self) -> Lesion | None:
        try:
            return self._edit.lesion(self.state.data.selected) if self.state.data.selected else None
        except InputError:  # it has no voxels yet
            return None

    def _onReleased(self, tool: MouseTool) -> None:
        isNew = tool.segmentId is None
        if tool.changed:
            with self._act():
                self.state.data.selected = tool.release()
                if isNew:
                    self.state.data.placing = False
                    self.showSelected()

    def _onScrolled(self, steps: int) -> None:
        self.grow(steps * WHEEL_STEP)

    def grow(self, mm: float) -> None:
        """Grow the selected lesion; negative shrinks it."""
        with self._act():
            self._edit.grow(self.state.data.selected, mm)

    def reshape(self) -> None:
        """Another shape of the same size at the same place."""
        with self._act():
            self._edit.reshape(self.state.data.selected, random.randrange(2**31))

    def rotate(self, *axisRas: float) -> None:
        """Turn the selected lesion a little around an axis."""
        with self._act():
            self._edit.rotate(self.state.data.selected, axisRas, TURN)

    def duplicate(self) -> None:
        """The selected lesion once more, beside it; the copy is selected."""
        with self._act():
            self.state.data.selected = self._edit.duplicate(self.state.data.selected)
            self.showSelected()

    def remove(self, segmentId: str) -> None:
        """Take a lesion out; its organ grows back."""
        with self._act():
            self._edit.remove(segmentId)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A refusal is told in the panel."""
        with self._server.state:
            self.state.data.message = ""
            try:
                yield
            except InputError as error:
                self.state.data.message = str(error)

    @contextmanager
    def _act(self) -> Iterator[None]:
        """One step of undo; a refusal is told, and leaves no step."""
        segmentation = self._editor.active_segmentation
        with self._server.state:
            with self._told(), SegmentationLabelMapUndoCommand.push_state_change(segmentation):
                yield
            self.effect.hideHandles()
            segmentation.trigger_modified()
            self.update()
            styleSegments(self._editor.active_segmentation_node, {self.state.data.selected})
            self._editor.set_active_segment_id(self.state.data.selected)

    def _onRadius(self, radius: float) -> None:
        self.effect.radius = float(radius)

    def _onPlacing(self, placing: bool) -> None:
        self.effect.placing = bool(placing)
        if placing:
            self.activate()

    def _onEffectChanged(self, name: str) -> None:
        if name != TumorEffect.get_effect_name():
            self.state.data.placing = False


def _noState() -> None:
    """``TumorEdit`` stores no states: the editor's undo keeps tumors and brush strokes in one order."""
