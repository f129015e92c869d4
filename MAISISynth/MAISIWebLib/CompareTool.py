"""Before and after: two CTs over each other with a slider to fade between them, and the window to see them in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import slicer
from trame_server import Server
from trame_server.utils.typed_state import TypedState

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.SceneIO import SYNTHETIC
from MAISIWebLib.Views import Views

WINDOWS = {"soft": (400, 40), "liver": (160, 70), "lung": (1500, -600), "bone": (1800, 400)}  # HU: width, level


@dataclass
class CompareState:
    """What the panel shows; nodes by their ID.

    Attributes:
        fade: 0 shows the CT before, 100 the one after.
    """

    before: str = ""
    after: str = ""
    fade: float = 100.0
    window: str = "soft"
    items: list[dict] = field(default_factory=list)


class CompareTool:
    """Chooses what the slice views show. ``onShown(node)`` is called with the CT that is edited on."""

    def __init__(self, server: Server, scene: slicer.vtkMRMLScene, views: Views, onShown: Callable) -> None:
        self._scene, self._views, self._onShown = scene, views, onShown
        self._nodes: list[slicer.vtkMRMLScalarVolumeNode] = []
        self.state = TypedState(server.state, CompareState)
        name = self.state.name
        self.state.bind_changes(
            {
                (name.before, name.after): lambda *_values: self._show(),
                name.fade: lambda *_values: self._fade(),
                name.window: lambda *_values: self._setWindow(),
            }
        )

    @property
    def shown(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The CT after. Raises InputError: there is none yet."""
        node = self._scene.GetNodeByID(self.state.data.after) if self.state.data.after else None
        if node is None:
            raise InputError(_("There is no CT yet: press Synthesize first."))
        return node

    def add(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None = None
    ) -> None:
        """Show a CT that is new in the scene, and compare it with ``before``."""
        self._nodes.append(volumeNode)
        data = self.state.data
        data.items = [
            {
                "title": _("CT {number}").format(number=number) if node.GetAttribute(SYNTHETIC) else node.GetName(),
                "value": node.GetID(),
            }
            for number, node in enumerate(self._nodes, 1)
        ]
        data.before = (before or volumeNode).GetID()
        data.after = volumeNode.GetID()
        data.fade = 100.0
        self._setWindow()
        self._show()

    def flicker(self) -> None:
        """From before to after, or back."""
        self.state.data.fade = 0.0 if self.state.data.fade > 50 else 100.0
        self._fade()

    def _show(self) -> None:
        before, after = (self._scene.GetNodeByID(key) for key in (self.state.data.before, self.state.data.after))
        if before is None or after is None:
            return
        self._views.showVolumes(before, after)
        self._fade()
        self._onShown(after)

    def _fade(self) -> None:
        self._views.fade(float(self.state.data.fade) / 100)

    def _setWindow(self) -> None:
        for node in self._nodes:
            display = node.GetDisplayNode()
            display.AutoWindowLevelOff()
            display.SetWindowLevel(*WINDOWS[self.state.data.window])
