"""What the section "Runs" shows: one row for each synthetic CT of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import slicer

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.History import Run, delete, previous, runs


@dataclass(frozen=True)
class HistoryState:
    """The rows (name, model, seed, steps, kind, time), newest first, and a sentence about the last action."""

    rows: tuple[tuple[str, ...], ...] = ()
    message: str = ""


class View(Protocol):
    """What the presenter needs of a panel."""

    def showHistory(self, state: HistoryState) -> None:
        """Show this state."""

    def showResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """Show a CT and compare it with ``before``."""

    def restore(self, choices: dict[str, Any]) -> None:
        """Choose these values of ``SynthesisChoices.Choices`` again."""


class HistoryPresenter:
    """Rows are counted from 0 as they are shown."""

    def __init__(self, view: View, scene: slicer.vtkMRMLScene) -> None:
        self._view, self._scene = view, scene
        self._runs: list[Run] = []

    def update(self, message: str = "") -> None:
        """Read the scene again."""
        self._runs = runs(self._scene)[::-1]
        self._view.showHistory(HistoryState(tuple(map(_row, self._runs)), message))

    def jump(self, row: int) -> None:
        """Show the CT of a row, beside what it is a change of."""
        if run := self._at(row):
            self._view.showResult(run.volumeNode, previous(run.volumeNode))

    def restore(self, row: int) -> None:
        """Choose what that CT was made with."""
        if run := self._at(row):
            self._view.restore(run.choices())
            text = _("Seed, model, steps and solver are those of '{name}'.")
            self.update(text.format(name=run.volumeNode.GetName()))

    def delete(self, row: int) -> None:
        """Remove that CT from the scene; the user has confirmed it."""
        if run := self._at(row):
            name = run.volumeNode.GetName()
            try:
                delete(run)
            except InputError as error:
                self.update(str(error))
                return
            self.update(_("'{name}' was removed from the scene.").format(name=name))

    def _at(self, row: int) -> Run | None:
        """The run of a row; None when there is no such row, or its CT has left the scene since (then look again)."""
        run = self._runs[row] if 0 <= row < len(self._runs) else None
        if run is not None and run.volumeNode.GetScene() is None:
            self.update(_("That CT is no longer in the scene."))
            return None
        return run


def _row(run: Run) -> tuple[str, ...]:
    return (
        run.volumeNode.GetName(),
        str(run.request.get("model", "")),
        str(run.request.get("seed", "")),
        str(run.info.get("steps") or run.request.get("steps") or ""),
        run.kind,
        "" if run.seconds is None else _("{seconds:.0f} s").format(seconds=run.seconds),
    )
