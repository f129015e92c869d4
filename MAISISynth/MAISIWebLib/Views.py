"""The views of the workbench: which there are, where they look, and how segments are drawn in them."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.views import Layout, LayoutDirection, SliceView, ViewLayoutDefinition

from MAISILib.Translate import _
from MAISISynthLib.NodeGrid import segmentationGrid
from MAISISynthLib.SceneIO import addVolume

SLICES, ALL, AXIAL = "slices", "all", "axial"
EMPTY_HU = -1000


def registerLayouts(manager: LayoutManager) -> None:
    """Make the views and their three arrangements: three slices, slices with 3D, axial only."""
    # Named as 3D Slicer names them, so that a saved scene looks at the same slices there.
    axial = ViewLayoutDefinition.slice_view("Axial", label="Red", color="#ff7676")
    coronal = ViewLayoutDefinition.slice_view("Coronal", label="Green", color="#7ddc84")
    sagittal = ViewLayoutDefinition.slice_view("Sagittal", label="Yellow", color="#ffd866")
    threeD = ViewLayoutDefinition.threed_view(name="ThreeD", background_color=("#0b0e12", "#1b222b"))
    across, down = LayoutDirection.Horizontal, LayoutDirection.Vertical
    manager.register_layout_dict(
        {
            SLICES: Layout(across, [axial, Layout(down, [coronal, sagittal])], ["3", "2"]),
            ALL: Layout(across, [Layout(down, [axial, coronal]), Layout(down, [sagittal, threeD])]),
            AXIAL: Layout(across, [axial]),
        }
    )
    manager.set_layout(SLICES)


def prepareSurfaces(app: SlicerApp) -> None:
    """Translucent surfaces are drawn in the right order only without multisampling."""
    for view in app.view_manager.get_threed_views():
        view.render_window().SetMultiSamples(0)


class Views:
    """What all views do together."""

    def __init__(self, app: SlicerApp) -> None:
        self._app = app

    @property
    def slices(self) -> list:
        """The slice views."""
        return self._app.view_manager.get_slice_views()

    def showVolumes(
        self, background: slicer.vtkMRMLScalarVolumeNode, foreground: slicer.vtkMRMLScalarVolumeNode | None = None
    ) -> None:
        """Put one CT into the slice views, and perhaps another over it."""
        for view in self.slices:
            view.set_background_volume_id(background.GetID())
            view.set_foreground_volume_id(foreground.GetID() if foreground else None)

    def fade(self, opacity: float) -> None:
        """How much of the foreground is seen, 0-1."""
        for view in self.slices:
            view.set_foreground_opacity(opacity)

    def goThrough(self, position: np.ndarray) -> None:
        """Scroll the slices to RAS mm."""
        for view in self.slices:
            view.get_view_node().JumpSliceByOffsetting(*map(float, position))

    def goThroughMiddle(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Scroll the slices to the middle of a volume."""
        bounds = [0.0] * 6
        volumeNode.GetRASBounds(bounds)
        self.goThrough(np.reshape(bounds, (3, 2)).mean(axis=1))

    def goThroughSegment(self, segmentId: str) -> None:
        """Scroll the slices to the middle of a segment of the segmentation that is edited."""
        node = self._app.segmentation_editor.active_segmentation_node
        center = node.GetSegmentCenterRAS(segmentId) if segmentId else None
        if center is not None:
            self.goThrough(center)

    def fitSurfaces(self) -> None:
        """Show all surfaces in the 3D view."""
        for view in self._app.view_manager.get_threed_views():
            view.reset_view()

    def fitWhenSized(self) -> None:
        """Show the whole CT in a slice view, at the slice where it is, whenever the browser tells another size."""
        for view in self.slices:
            view.interactor().AddObserver(vtk.vtkCommand.WindowResizeEvent, lambda *_event, view=view: _fit(view))


def _fit(view: SliceView) -> None:
    offset = view.get_slice_value()
    view.fit_view_to_content()
    view.set_slice_value(offset)


def emptyCt(
    scene: slicer.vtkMRMLScene, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """Air on the grid of the segmentation, to draw on before there is a CT; it is not saved."""
    grid = segmentationGrid(segmentationNode)
    node = addVolume(scene, "vtkMRMLScalarVolumeNode", np.full(grid.shape, EMPTY_HU, np.int16), grid, _("No CT yet"))
    node.GetDisplayNode().AutoWindowLevelOff()
    for unsaved in (node, node.GetDisplayNode()):
        unsaved.SetSaveWithScene(False)
    return node
