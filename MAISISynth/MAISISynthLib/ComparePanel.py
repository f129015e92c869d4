"""The widgets of the section "Compare"."""

from __future__ import annotations

import qt
import slicer

from MAISISynthLib.ComparePresenter import ComparePresenter, CompareState
from MAISISynthLib.CompareViews import SIDE_BY_SIDE, THREE_PLANES, CompareViews
from MAISISynthLib.TableWidget import fillTable

FLICKER_MILLISECONDS = 500


class ComparePanel:
    """Shows what the presenter says, tells it what the user did."""

    def __init__(self, ui) -> None:
        self.ui = ui
        self._timer = qt.QTimer()
        self._timer.interval = FLICKER_MILLISECONDS
        self.presenter = ComparePresenter(self, CompareViews(slicer.mrmlScene))
        self._timer.connect("timeout()", self.presenter.tick)
        for selector in (ui.compareBeforeSelector, ui.compareAfterSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onPair)
        ui.fadeSlider.connect("valueChanged(double)", self.presenter.fade)
        ui.flickerButton.connect("toggled(bool)", self.presenter.flicker)
        ui.differenceButton.connect("toggled(bool)", self._onDifference)
        ui.compareButton.connect("clicked(bool)", self._onMeasure)
        ui.sideBySideButton.connect("clicked(bool)", lambda _checked: self._showLayout(SIDE_BY_SIDE))
        ui.threePlanesButton.connect("clicked(bool)", lambda _checked: self._showLayout(THREE_PLANES))
        ui.usualViewsButton.connect("clicked(bool)", lambda _checked: self._showLayout(None))
        self._onPair()

    def setPair(
        self, before: slicer.vtkMRMLScalarVolumeNode | None, after: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """Choose the two CTs to compare."""
        self._select(before, after)
        self.presenter.setPair(before, after)

    def showNew(self, before: slicer.vtkMRMLScalarVolumeNode | None, after: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a CT in the slice views, ready to be compared with ``before``."""
        self._select(before, after)
        if self.presenter.showNew(before, after):
            slicer.util.resetSliceViews()

    def showComparison(self, state: CompareState) -> None:
        """See ``ComparePresenter.View``."""
        ui = self.ui
        for widget in (
            ui.fadeSlider,
            ui.flickerButton,
            ui.differenceButton,
            ui.compareButton,
            ui.sideBySideButton,
            ui.threePlanesButton,
        ):
            widget.enabled = state.enabled
        ui.compareLabel.text = state.message
        fillTable(ui.compareTable, state.rows)
        for widget, name, value in (
            (ui.fadeSlider, "value", state.fade),
            (ui.flickerButton, "checked", state.flickering),
            (ui.differenceButton, "checked", state.overlaid),
        ):
            blocked = widget.blockSignals(True)  # the presenter knows it already
            setattr(widget, name, value)
            widget.blockSignals(blocked)
        if state.flickering != self._timer.active:
            self._timer.start() if state.flickering else self._timer.stop()

    def cleanup(self) -> None:
        """Before the widget is destroyed."""
        self._timer.stop()

    def _select(self, *pair: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Set both selectors, of which the presenter need not hear one by one."""
        for selector, node in zip((self.ui.compareBeforeSelector, self.ui.compareAfterSelector), pair, strict=True):
            blocked = selector.blockSignals(True)
            selector.setCurrentNode(node)
            selector.blockSignals(blocked)

    def _onPair(self, _node: slicer.vtkMRMLNode | None = None) -> None:
        self.presenter.setPair(self.ui.compareBeforeSelector.currentNode(), self.ui.compareAfterSelector.currentNode())

    def _onDifference(self, wanted: bool) -> None:
        with slicer.util.WaitCursor(wanted):
            self.presenter.overlay(wanted)

    def _onMeasure(self, _checked: bool) -> None:
        with slicer.util.WaitCursor():
            self.presenter.table()

    def _showLayout(self, layout: int | None) -> None:
        self.presenter.layout(layout)
        slicer.util.resetSliceViews()
