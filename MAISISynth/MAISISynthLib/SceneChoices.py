"""A module's parameter node through the life of scenes: followed, and connected with the widgets while it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin


class SceneChoices(VTKObservationMixin):
    """What the user chose in the present scene; ``enter`` it when the module is shown, ``exit`` when it is hidden."""

    def __init__(
        self,
        ui,
        parametersOf: Callable[[slicer.vtkMRMLScene], Any],
        changed: Callable[[Any], None],
        closing: Callable[[], None],
        opened: Callable[[], None],
    ) -> None:
        """
        Args:
            ui: the named widgets, as ``slicer.util.childWidgetVariables`` gives them.
            parametersOf: gives the parameter node of a scene.
            changed: gets it when its values, or which one it is, have changed.
            closing: the scene goes away. opened: after that, or an import, the module shows a scene again.
        """
        VTKObservationMixin.__init__(self)
        self._ui, self._parametersOf = ui, parametersOf
        self._changed, self._closing, self._opened = changed, closing, opened
        self._parameters: Any = None
        self._connection: int | None = None  # with the widgets
        self._entered = False
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onEnd)

    @property
    def parameters(self) -> Any:
        """The parameter node, to be changed.

        It is the wrapper that is followed: a change through another one would reach its cached values only after our
        observer.
        """
        return self._parameters or self._parametersOf(slicer.mrmlScene)

    def enter(self) -> None:
        """The module is shown."""
        self._entered = True
        self._connect()

    def exit(self) -> None:
        """The module is hidden; the choices are followed nevertheless."""
        self._entered = False
        self._disconnectGui()

    def cleanup(self) -> None:
        """Before the widgets are destroyed."""
        self._disconnect()
        self.removeObservers()

    def _connect(self) -> None:
        if self._parameters is None:
            self._parameters = self._parametersOf(slicer.mrmlScene)
            self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onModified)
        if self._connection is None:
            self._connection = self._parameters.connectGui(self._ui)
        self._onModified()

    def _disconnect(self) -> None:
        self._disconnectGui()
        if self._parameters is not None:
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onModified)
            self._parameters = None

    def _disconnectGui(self) -> None:
        if self._connection is not None:
            self._parameters.disconnectGui(self._connection)
            self._connection = None

    def _onModified(self, _caller: Any = None, _event: str = "") -> None:
        self._changed(self._parameters)

    def _onStartClose(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        self._disconnect()
        self._closing()

    def _onEnd(self, _caller: slicer.vtkMRMLScene, _event: str) -> None:
        if self._entered:
            self._disconnect()  # an import may have replaced the node
            self._connect()
            self._opened()
