"""What the section "Compare" shows and allows, decided without Qt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import slicer

from maisi.errors import InputError
from maisi.labels import LABELS
from maisi.volume import ImageVolume
from MAISILib.Translate import _
from MAISISynthLib.Compare import Comparison, Sample, compare, differenceVolume
from MAISISynthLib.CompareViews import CompareViews


@dataclass(frozen=True)
class CompareState:
    """Everything that the section shows.

    Attributes:
        enabled: whether there are two CTs to compare. message: what differs, or why nothing can be compared.
        rows: name, ml and HU before, ml and HU after, of each structure.
        fade: 0 (before) to 1 (after). flickering, overlaid: whether those buttons are down.
    """

    enabled: bool = False
    message: str = ""
    rows: tuple[tuple[str, ...], ...] = field(default=())
    fade: float = 1.0
    flickering: bool = False
    overlaid: bool = False


class View(Protocol):
    """What the presenter needs of a panel."""

    def showComparison(self, state: CompareState) -> None:
        """Show this state."""


class ComparePresenter:
    """Compares when the user asks for it: reading two large CTs takes seconds."""

    def __init__(self, view: View, views: CompareViews) -> None:
        self._view, self._views = view, views
        self._pair: tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLScalarVolumeNode] | None = None
        self._state = CompareState(message=_("Choose two CTs."))
        self._comparison: Comparison | None = None
        self._difference: ImageVolume | None = None

    def setPair(
        self, before: slicer.vtkMRMLScalarVolumeNode | None, after: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """Other CTs are to be compared."""
        usable = before is not None and after is not None and before is not after
        self._pair = (before, after) if usable else None
        self._comparison = self._difference = None
        if usable:
            self._views.refresh(before, after)
        self._show(CompareState(enabled=usable, message="" if usable else _("Choose two CTs.")))

    def showNew(self, before: slicer.vtkMRMLScalarVolumeNode | None, after: slicer.vtkMRMLScalarVolumeNode) -> bool:
        """Show a CT in the slice views, ready to be compared with ``before``; see ``CompareViews.show``."""
        self.setPair(before, after)
        return self._views.show(after)

    def table(self) -> None:
        """Fill the table, tell how much differs, and bring the place into the views."""
        if self._compared():
            rows = tuple(_row(label, *pair) for label, pair in self._comparison.samples.items())
            self._show(replace(self._state, rows=rows, message=describe(self._comparison)))
            if self._comparison.center is not None:
                self._views.center(self._comparison.center)

    def overlay(self, wanted: bool) -> None:
        """Show or hide the signed difference over the new CT."""
        if not wanted:
            if self._paired():
                self._views.show(self._pair[1])
            self._show(replace(self._state, overlaid=False))
        elif self._compared():
            self._views.overlay(self._pair[1], differenceVolume(*self._pair, self._difference))
            text = describe(self._comparison)
            self._show(replace(self._state, overlaid=True, flickering=False, message=text))

    def fade(self, part: float) -> None:
        """Fade from the first CT (0) to the second (1)."""
        if self._paired():
            self._views.fade(*self._pair, part)
            self._show(replace(self._state, fade=part, overlaid=False))

    def flicker(self, wanted: bool) -> None:
        """Start or stop to show the two CTs in turns."""
        self._show(replace(self._state, flickering=wanted and self._paired(), overlaid=False))
        if not wanted:
            self.fade(1.0)

    def tick(self) -> None:
        """The other CT's turn; call about twice a second while ``flickering``."""
        self.fade(0.0 if self._state.fade >= 0.5 else 1.0)

    def layout(self, layout: int | None) -> None:
        """Show one of the layouts of ``CompareViews``; None: the one that was there before."""
        if layout is None:
            self._views.restoreLayout()
        elif self._paired():
            self._views.showLayout(layout, *self._pair)

    def _paired(self) -> bool:
        """Whether there are two CTs, and both still in the scene."""
        if self._pair is not None and any(node.GetScene() is None for node in self._pair):
            self.setPair(None, None)
        return self._pair is not None

    def _compared(self) -> bool:
        """Whether there is a comparison of the pair, made now if it is needed."""
        if not self._paired():
            return False
        if self._comparison is None:
            try:
                self._comparison, self._difference = compare(*self._pair)
            except InputError as error:
                self._show(replace(self._state, message=str(error), overlaid=False))
                return False
        return True

    def _show(self, state: CompareState) -> None:
        self._state = state
        self._view.showComparison(state)


def describe(comparison: Comparison) -> str:
    """For example "3.14 % of the voxels differ, by up to 240 HU."."""
    if not comparison.changedFraction:
        return _("Not one voxel differs.")
    return _("{percent:.3g} % of the voxels differ, by up to {largest:.0f} HU.").format(
        percent=100 * comparison.changedFraction, largest=comparison.largest
    )


def _row(label: int, before: Sample | None, after: Sample | None) -> tuple[str, ...]:
    cells = [LABELS[label].name if label in LABELS else str(label)]
    for sample in (before, after):
        if sample is None:
            cells += ["-", "-"]
        else:
            cells += [f"{sample.milliliters:.1f}", f"{sample.mean:.0f} ± {sample.deviation:.0f}"]
    return tuple(cells)
