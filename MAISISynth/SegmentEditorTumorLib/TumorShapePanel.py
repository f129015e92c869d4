"""The options of the effect: the shape of the selected tumor as sliders, and buttons for the other acts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import ctk
import qt

from maisi.masks.lesion import MAX_LOBULATION, MAX_SPICULATION, Lesion
from MAISILib.Translate import _
from MAISISynthLib.TumorEdit import TumorEdit
from MAISISynthLib.TumorHandles import MAX_RADIUS, MIN_RADIUS


class TumorShapePanel:
    """Widgets in the options frame of ``effect``, a ``SegmentEditorEffect``, which does what they ask for."""

    def __init__(self, effect) -> None:
        self._effect = effect
        self._radius = self._slider(_("Radius of a new tumor:"), MIN_RADIUS, MAX_RADIUS, 0.5, " mm")
        self._radii = [
            self._slider(label, MIN_RADIUS, MAX_RADIUS, 0.5, " mm")
            for label in (_("First radius:"), _("Second radius:"), _("Third radius:"))
        ]
        self._lobulation = self._slider(_("Lobulation:"), 0, MAX_LOBULATION, 0.01, "")
        self._spiculation = self._slider(_("Spiculation:"), 0, MAX_SPICULATION, 0.05, "")
        self._radius.connect("valueChanged(double)", effect.setRadius)
        for slider in self._shape():
            slider.connect("valueChanged(double)", self._onShape)
        self._buttons = [
            self._button(_("New shape"), _("Another irregularity of the same size"), self._onDice),
            self._button(_("Duplicate"), _("The same tumor once more, beside it"), self._onDuplicate),
            self._button(_("Remove"), _("Take the tumor away; its organ returns"), self._onRemove),
        ]
        self._message = qt.QLabel()
        self._message.wordWrap = True
        effect.scriptedEffect.addOptionsWidget(self._message)

    def say(self, text: str) -> None:
        """Show why something could not be done; "" clears it."""
        self._message.text = text

    def show(self, radius: float, lesion: Lesion | None) -> None:
        """Show the parameters, without announcing them as changes."""
        self._set(self._radius, radius)
        for widget in (*self._shape(), *self._buttons):
            widget.enabled = lesion is not None
        if lesion is not None:
            for slider, value in zip(self._shape(), _values(lesion), strict=True):
                self._set(slider, value)
        self._shown = [slider.value for slider in self._shape()]

    def _shape(self) -> list:
        return [*self._radii, self._lobulation, self._spiculation]

    @staticmethod
    def _set(slider, value: float) -> None:
        blocked = slider.blockSignals(True)
        slider.value = value
        slider.blockSignals(blocked)

    def _slider(self, label: str, low: float, high: float, step: float, suffix: str):
        slider = ctk.ctkSliderWidget()
        slider.minimum, slider.maximum, slider.singleStep = low, high, step
        slider.decimals = 2 if step < 0.1 else 1
        slider.suffix = suffix
        slider.tracking = False  # one act when the handle is let go, not one for each step on the way
        self._effect.scriptedEffect.addLabeledOptionsWidget(label, slider)
        return slider

    def _button(self, text: str, toolTip: str, onClicked: Callable[[bool], None]):
        button = qt.QPushButton(text)
        button.toolTip = toolTip
        button.connect("clicked(bool)", onClicked)
        self._effect.scriptedEffect.addOptionsWidget(button)
        return button

    def _onShape(self, _value: float) -> None:
        now = [slider.value for slider in self._shape()]

        def reshape(tumors: TumorEdit, segmentId: str) -> None:
            before = tumors.lesion(segmentId)
            # A slider rounds what it shows; what the user did not touch stays exact.
            pairs = zip(now, self._shown, _values(before), strict=True)
            *radii, lobulation, spiculation = (new if new != shown else exact for new, shown, exact in pairs)
            same = (lobulation, spiculation) == (before.lobulation, before.spiculation)
            relief = before.relief if same else ()  # what was painted gives way to what is asked for
            shape = {"lobulation": lobulation, "spiculation": spiculation, "relief": relief}
            tumors.apply(segmentId, replace(before, radii=tuple(radii), **shape))

        self._effect.change(reshape)

    def _onDice(self, _checked: bool) -> None:
        self._effect.change(lambda tumors, segmentId: tumors.reshape(segmentId, random.randrange(2**31)))

    def _onDuplicate(self, _checked: bool) -> None:
        self._effect.change(lambda tumors, segmentId: tumors.duplicate(segmentId))

    def _onRemove(self, _checked: bool) -> None:
        self._effect.change(lambda tumors, segmentId: tumors.remove(segmentId))


def _values(lesion: Lesion) -> tuple[float, ...]:
    """In the order of the sliders."""
    return (*lesion.radii, lesion.lobulation, lesion.spiculation)
