"""Slice views for two CTs: side by side and linked, or one faded over the other. MRML only."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import slicer

from MAISILib.Translate import _
from MAISISynthLib.Compare import DIFFERENCE
from MAISISynthLib.SceneIO import SYNTHETIC

PLANES = {"Axial": "#F34A33", "Sagittal": "#EDD54C", "Coronal": "#6EB04B"}  # with the colors of Slicer's own views
SIDE_BY_SIDE, THREE_PLANES = 8810, 8811  # numbers of our layouts; the application's own are below 1000
PREFIX = {"before": "MAISIBefore", "after": "MAISIAfter"}  # of the names of our views
VIEW_GROUP = 88  # views of one group are linked with each other, and with no others
OVERLAY_OPACITY = 0.8


class CompareViews:
    """Shows two CTs in the views of a scene, and remembers the layout that was there before."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._usual: int | None = None

    def showLayout(
        self, layout: int, before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode
    ) -> None:
        """Switch to ``SIDE_BY_SIDE`` (axial) or ``THREE_PLANES`` (two rows), with both CTs in linked views."""
        node = self._layoutNode()
        if node.GetViewArrangement() not in (SIDE_BY_SIDE, THREE_PLANES):
            self._usual = node.GetViewArrangement()
        if not node.IsLayoutDescription(layout):
            node.AddLayoutDescription(layout, layoutDescription(_planes(layout)))
        node.SetViewArrangement(layout)
        self.refresh(before, after)

    def refresh(self, before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show other CTs in our layout, if one is shown."""
        node = self._layoutNode()
        if node is None or node.GetViewArrangement() not in (SIDE_BY_SIDE, THREE_PLANES):
            return
        planes = _planes(node.GetViewArrangement())
        for side, volume in (("before", before), ("after", after)):
            for plane in planes:
                composite = self._composite(PREFIX[side] + plane)
                composite.SetBackgroundVolumeID(volume.GetID())
                composite.SetForegroundVolumeID(None)
                composite.SetLinkedControl(True)
                composite.SetHotLinkedControl(True)

    def restoreLayout(self) -> None:
        """Back to the layout that was there before ours; does nothing when none of ours is shown."""
        node = self._layoutNode()
        if self._usual is not None and node is not None and node.GetViewArrangement() in (SIDE_BY_SIDE, THREE_PLANES):
            node.SetViewArrangement(self._usual)
        self._usual = None

    def fade(self, before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode, part: float) -> None:
        """Show ``after`` over ``before`` in the usual views, with opacity ``part`` (0: ``before`` alone)."""
        self._layers(before, after, part)

    def overlay(self, volume: slicer.vtkMRMLScalarVolumeNode, difference: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a CT in the usual views, with its difference over it."""
        self._layers(volume, difference, OVERLAY_OPACITY)

    def show(self, volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
        """Show a CT in the usual views, and nothing of ours over it; what else the user put there stays.

        Returns:
            Whether the views were empty, and so must be fitted to it.
        """
        wereEmpty = not any(composite.GetBackgroundVolumeID() for composite in self._usualViews())
        for composite in self._usualViews():
            composite.SetBackgroundVolumeID(volume.GetID())
            over = self._scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
            if over is not None and (over.GetAttribute(SYNTHETIC) or over.GetAttribute(DIFFERENCE)):
                composite.SetForegroundVolumeID(None)
        return wereEmpty

    def center(self, position: np.ndarray) -> None:
        """Bring a position (RAS mm) into the middle of all slice views."""
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", self._scene):
            node.JumpSliceByCentering(*position)

    def _layers(
        self,
        background: slicer.vtkMRMLScalarVolumeNode,
        foreground: slicer.vtkMRMLScalarVolumeNode,
        opacity: float,
    ) -> None:
        for composite in self._usualViews():
            composite.SetBackgroundVolumeID(background.GetID())
            composite.SetForegroundVolumeID(foreground.GetID())
            composite.SetForegroundOpacity(opacity)

    def _usualViews(self) -> list[slicer.vtkMRMLSliceCompositeNode]:
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", self._scene)
        return [node for node in composites if not (node.GetLayoutName() or "").startswith(tuple(PREFIX.values()))]

    def _layoutNode(self) -> slicer.vtkMRMLLayoutNode | None:
        return self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")

    def _composite(self, layoutName: str) -> slicer.vtkMRMLSliceCompositeNode:
        """What a slice view shows; made here where the view, which would make it, comes later."""
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", self._scene):
            if node.GetLayoutName() == layoutName:
                return node
        node = self._scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")  # which knows the scene's defaults
        node.UnRegister(None)
        node.SetLayoutName(layoutName)
        return self._scene.AddNode(node)


def _planes(layout: int) -> list[str]:
    return list(PLANES)[: 1 if layout == SIDE_BY_SIDE else 3]


def layoutDescription(planes: list[str]) -> str:
    """The XML of a layout with one column for each plane, before above after; of one plane, before beside after."""
    alone = len(planes) == 1
    root = ElementTree.Element("layout", type="horizontal" if alone else "vertical", split="true")
    for side, label in (("before", _("Before")), ("after", _("After"))):
        parent = root
        if not alone:
            parent = ElementTree.SubElement(ElementTree.SubElement(root, "item"), "layout", type="horizontal")
        for plane in planes:
            item = ElementTree.SubElement(parent, "item")
            view = ElementTree.SubElement(
                item, "view", {"class": "vtkMRMLSliceNode", "singletontag": PREFIX[side] + plane}
            )
            properties = {
                "orientation": plane,
                "viewlabel": label if alone else f"{label} {plane[0]}",
                "viewcolor": PLANES[plane],
                "viewgroup": str(VIEW_GROUP),
            }
            for name, value in properties.items():
                ElementTree.SubElement(view, "property", name=name, action="default").text = value
    return ElementTree.tostring(root, encoding="unicode")
