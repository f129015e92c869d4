"""The widgets of the section "Inputs"."""

from __future__ import annotations

from collections.abc import Callable

from MAISILib.Settings import Settings
from MAISISynthLib.InputPresenter import InputPresenter, InputState
from MAISISynthLib.SynthesisLogic import MAISISynthLogic


class InputPanel:
    """Shows what the presenter says; the selectors are connected with the parameter node."""

    def __init__(self, ui, logic: MAISISynthLogic, settings: Settings, wake: Callable[[], None]) -> None:
        self.ui = ui
        self._wake = wake
        self.presenter = InputPresenter(self, logic, settings)

    def showInput(self, state: InputState) -> None:
        """See ``InputPresenter.View``."""
        self.ui.statusLabel.text = state.status
        self.ui.noticesLabel.text = "\n".join(state.notices)
        self.ui.noticesLabel.visible = bool(state.notices)
        for widget in (self.ui.seedSpinBox, self.ui.diceButton, self.ui.modelComboBox):
            widget.enabled = state.seedEnabled
        self._wake()
