"""The widgets of the module: shows what the presenter says, tells it what the user did. Decides nothing."""

from __future__ import annotations

import random

import qt
import slicer
from slicer.util import VTKObservationMixin

from MAISILib.Settings import Settings
from MAISISynthLib.SceneIO import SYNTHETIC
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPresenter import PanelState, SynthesisPresenter

POLL_MILLISECONDS = 100
EDIT_MILLISECONDS = 500  # edits come in bursts; look at the segmentation once they pause


class SynthesisPanel(VTKObservationMixin):
    """Controls the widgets of ``MAISISynth.ui``."""

    def __init__(self, ui, logic: MAISISynthLogic) -> None:
        """``ui``: the named widgets, as ``slicer.util.childWidgetVariables`` gives them."""
        VTKObservationMixin.__init__(self)
        self.ui = ui
        self._presenter = SynthesisPresenter(self, logic, Settings(slicer.app.userSettings()))
        self._pollTimer = self._timer(POLL_MILLISECONDS, self._presenter.poll, singleShot=False)
        self._editTimer = self._timer(EDIT_MILLISECONDS, self._presenter.update, singleShot=True)
        self.ui.beforeSelector.addAttribute("vtkMRMLScalarVolumeNode", SYNTHETIC, "1")
        self.ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onInputsChanged)
        self.ui.beforeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onInputsChanged)
        self.ui.diceButton.connect("clicked(bool)", self._onDice)
        self.ui.synthesizeButton.connect("clicked(bool)", self._onPressed)
        self._onInputsChanged()

    def show(self, state: PanelState) -> None:
        """See ``SynthesisPresenter.View``."""
        self.ui.statusLabel.text = state.status
        self.ui.synthesizeButton.text = state.buttonText
        self.ui.synthesizeButton.enabled = state.buttonEnabled
        self.ui.synthesizeButton.toolTip = state.status
        for widget in (self.ui.segmentationSelector, self.ui.beforeSelector):
            widget.enabled = state.inputsEnabled
        for widget in (self.ui.seedSpinBox, self.ui.diceButton):
            widget.enabled = state.seedEnabled
        self.ui.progressBar.visible = state.running
        self.ui.progressBar.maximum = 0 if state.percent is None else 100  # 0: Qt's "busy"
        self.ui.progressBar.value = state.percent or 0
        self.ui.progressLabel.text = state.progressText
        if self.ui.logText.plainText != state.log:
            self.ui.logText.plainText = state.log
        if state.logOpened:
            self.ui.logCollapsibleButton.collapsed = False
        if state.running != self._pollTimer.active:
            self._pollTimer.start() if state.running else self._pollTimer.stop()

    def showVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """See ``SynthesisPresenter.View``."""
        slicer.util.setSliceViewerLayers(background=volumeNode)
        self.ui.beforeSelector.setCurrentNode(volumeNode)

    def cleanup(self) -> None:
        """Before the widget is destroyed."""
        self._pollTimer.stop()
        self._editTimer.stop()
        self.removeObservers()
        self._presenter.close()

    def _onInputsChanged(self, _node: slicer.vtkMRMLNode | None = None) -> None:
        segmentationNode = self.ui.segmentationSelector.currentNode()
        self.removeObservers()
        if segmentationNode:
            for event in (
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
                slicer.vtkSegmentation.SourceRepresentationModified,
            ):
                self.addObserver(segmentationNode, event, self._onSegmentsEdited)
        self._presenter.setInputs(segmentationNode, self.ui.beforeSelector.currentNode())

    def _onSegmentsEdited(self, _caller: slicer.vtkMRMLNode, _event: str) -> None:
        self._editTimer.start()

    def _onDice(self, _checked: bool = False) -> None:
        self.ui.seedSpinBox.value = random.randint(0, self.ui.seedSpinBox.maximum)

    def _onPressed(self, _checked: bool = False) -> None:
        self._presenter.press(self.ui.seedSpinBox.value)

    @staticmethod
    def _timer(milliseconds: int, callback, singleShot: bool) -> qt.QTimer:
        timer = qt.QTimer()
        timer.interval = milliseconds
        timer.singleShot = singleShot
        timer.connect("timeout()", callback)
        return timer
