"""The browser workbench: one scene, the tools that work on it, and the page that shows them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

import slicer
import vtk
from trame.app import get_server
from trame_server.utils.typed_state import TypedState
from trame_slicer import module as trameSlicer
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISIWebLib import Downloads
from MAISIWebLib.Case import Case
from MAISIWebLib.CompareTool import CompareTool
from MAISIWebLib.Page import Page, iconUri
from MAISIWebLib.SegmentStyle import styleSegments
from MAISIWebLib.SegmentTool import SegmentTool
from MAISIWebLib.SynthesisTool import SynthesisTool
from MAISIWebLib.TumorTool import TumorTool
from MAISIWebLib.ViewOverlay import sliceOverlay, surfaceOverlay
from MAISIWebLib.Views import ALL, SLICES, Views, emptyCt, prepareSurfaces, registerLayouts

EDIT_SECONDS = 0.5  # edits come in bursts; look at the segmentation once they pause


@dataclass
class WorkbenchState:
    """What the page shows besides the tools."""

    title: str = ""
    tab: str = "tumors"
    layout: str = SLICES
    filled: bool = True
    saving: bool = False
    failed: bool = False
    message: str = ""


def _quiet() -> None:
    """VTK warns about everything that has no screen; what a user must know is told on the page."""
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    silent = vtk.vtkFileOutputWindow()
    silent.SetFileName(os.devnull)
    vtk.vtkOutputWindow.SetInstance(silent)


class Workbench:
    """Make one, ``open`` a case, start ``server``, and at last ``close``."""

    def __init__(self, logic: MAISISynthLogic | None = None) -> None:
        self.server = get_server(client_type="vue3")
        self.server.enable_module(trameSlicer)
        _quiet()
        self._app = SlicerApp()
        _quiet()
        self.scene = slicer.mrmlScene = self._app.scene
        register_rca_factories(
            self._app.view_manager,
            self.server,
            slice_view_ui_f=sliceOverlay,
            three_d_view_ui_f=surfaceOverlay,
            interactive_quality=80,
        )
        self._layouts = LayoutManager(self.scene, self._app.view_manager, self.server)
        registerLayouts(self._layouts)
        prepareSurfaces(self._app)
        self.scene.Clear()  # the tools' parts in the views are made anew, and find their views
        self.views = Views(self._app)
        self.state = TypedState(self.server.state, WorkbenchState)
        self.segments = SegmentTool(self.server, self._app)
        self.tumors = TumorTool(self.server, self._app, self.views.goThroughSegment)
        self.compare = CompareTool(self.server, self.scene, self.views, self.segments.editOn)
        self.synthesis = SynthesisTool(self.server, logic or MAISISynthLogic(), self._onResult)
        self._edited: asyncio.TimerHandle | None = None
        self._observe()
        self.server.state.trame__title = "MAISI Synth"
        self.server.state.trame__favicon = iconUri()
        self.page = Page(self.server, self, self._layouts)

    def open(self, case: Case) -> None:
        """Show a case that is in ``scene``, and work on it."""
        node = case.segmentationNode
        newest = case.ctNodes[-1] if case.ctNodes else None
        styleSegments(node)
        background = newest or emptyCt(self.scene, node)
        self.segments.open(node, background)
        self.views.showVolumes(background)
        before = None
        for volumeNode in case.ctNodes:
            self.compare.add(volumeNode, before)
            before = volumeNode
        self.state.data.title = case.name
        self.state.data.filled = newest is None
        self.tumors.open()
        self.synthesis.open(node, newest)
        self.views.goThroughMiddle(background)
        self.tumors.showSelected()
        self.views.fitWhenSized()

    def close(self) -> None:
        """End the synthesis that may be running."""
        self.synthesis.close()

    def downloads(self) -> list[tuple[str, str, Callable]]:
        """Title, file name and maker of every file that the page offers."""
        return [
            (_("Scene"), Downloads.SCENE, self._saving(lambda: Downloads.sceneFile(self.scene))),
            (_("CT"), Downloads.CT, self._saving(lambda: Downloads.nodeFile(self.compare.shown, Downloads.CT))),
            (
                _("Segmentation"),
                Downloads.SEGMENTATION,
                self._saving(lambda: Downloads.nodeFile(self.segments.node, Downloads.SEGMENTATION)),
            ),
        ]

    def _saving(self, make: Callable[[], bytes]) -> Callable:
        async def save():
            self.state.data.saving = True
            self.server.state.flush()
            await asyncio.sleep(0.05)  # let the browser show that something happens
            try:
                return self.server.protocol.addAttachment(make())
            except InputError as error:
                self.state.data.message, self.state.data.failed = str(error), True
                raise
            finally:
                self.state.data.saving = False

        return save

    def _observe(self) -> None:
        name = self.state.name
        self.state.bind_changes({name.layout: self._onLayout, name.filled: self._onFilled, name.tab: self._onTab})
        self._app.segmentation_editor.segmentation_modified.connect(self._onEdited)

    def _onLayout(self, layout: str) -> None:
        self._layouts.set_layout(layout)
        self.segments.show3D(layout == ALL)
        if layout == ALL:
            self.views.fitSurfaces()

    def _onFilled(self, filled: bool) -> None:
        self.segments.outline(only=not filled)

    def _onTab(self, tab: str) -> None:
        if tab == "tumors":
            self.tumors.activate()

    def _onResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        self.compare.add(volumeNode, before)
        self.state.data.filled = False  # fills would hide the image

    def _onEdited(self) -> None:
        if self._edited is not None:
            self._edited.cancel()
        if self.server.running:
            self._edited = asyncio.get_running_loop().call_later(EDIT_SECONDS, self._onEditsPaused)

    def _onEditsPaused(self) -> None:
        with self.server.state:
            self.tumors.update()
            self.synthesis.edited()
