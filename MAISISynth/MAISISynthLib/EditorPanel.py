"""The Segment Editor inside the panel: only the tools that tumors need, with settings of its own."""

from __future__ import annotations

import slicer
from slicer.util import VTKObservationMixin

from MAISILib.Translate import _
from MAISISynthLib.SingletonNodes import editorNode

EFFECTS = ("Tumor", "Paint", "Erase", "Islands", "Margin", "Smoothing", "Scissors")
UNDO_STATES = 10


class EditorPanel(VTKObservationMixin):
    """Controls a ``qMRMLSegmentEditorWidget``, in the order that Slicer's own Segment Editor module keeps."""

    def __init__(self, ui) -> None:
        VTKObservationMixin.__init__(self)
        self.ui = ui
        self._widget = widget = ui.segmentEditorWidget
        self._entered = False
        widget.setEffectNameOrder(list(EFFECTS))
        widget.unorderedEffectsVisible = False
        widget.setMaximumNumberOfUndoStates(UNDO_STATES)
        widget.segmentationNodeSelectorVisible = False  # the panel has selectors
        widget.sourceVolumeNodeSelectorVisible = False
        widget.autoShowSourceVolumeNode = False
        self._selectNode()  # before the scene, else the choices that the scene brings are not kept
        widget.setMRMLScene(slicer.mrmlScene)
        self._factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self._factory.connect("effectRegistered(QString)", self._onEffectRegistered)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneEnd)

    def setNodes(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
    ) -> None:
        """Edit this segmentation over this CT; without one the editor takes what the segmentation was drawn on."""
        if self._widget.segmentationNode() is not segmentationNode:
            self._widget.setSegmentationNode(segmentationNode)
        if segmentationNode is not None and volumeNode is not None:
            self._widget.setSourceVolumeNode(volumeNode)
        # The widget enables its tools only where it has an image.
        lacking = segmentationNode is not None and self._widget.sourceVolumeNode() is None
        self.ui.editHintLabel.visible = lacking
        self.ui.editHintLabel.text = _("To edit, press Synthesize first, or choose a CT above.") if lacking else ""

    def enter(self) -> None:
        """The module is shown."""
        self._entered = True
        self._widget.installKeyboardShortcuts()
        self._selectNode()
        self._widget.updateWidgetFromMRML()

    def exit(self) -> None:
        """The module is hidden: no effect may go on listening to the mouse."""
        self._entered = False
        self._widget.setActiveEffect(None)
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def cleanup(self) -> None:
        """Before the widget is destroyed; a hidden one that is not released here keeps its observers and shortcuts."""
        self.removeObservers()
        self._factory.disconnect("effectRegistered(QString)", self._onEffectRegistered)
        self.exit()
        self._widget.setMRMLSegmentEditorNode(None)
        self._widget.setMRMLScene(None)

    def _selectNode(self) -> None:
        self._widget.setMRMLSegmentEditorNode(editorNode(slicer.mrmlScene))

    def _onEffectRegistered(self, _name: str = "") -> None:
        self._widget.updateEffectList()

    def _onSceneStartClose(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        self._widget.setSegmentationNode(None)
        self._widget.removeViewObservations()

    def _onSceneEnd(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        if self._entered:
            self._selectNode()
            self._widget.updateWidgetFromMRML()
