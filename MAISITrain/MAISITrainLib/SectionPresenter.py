"""What the sections "Data" and "Training" have in common: one command at a time, packages first, a message."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CalledProcessError
from typing import Any

from MAISILib.Settings import Settings
from MAISITrainLib.CommandRunner import CommandRunner
from MAISITrainLib.Requirements import ensurePackages as ensureTrainPackages
from MAISITrainLib.TrainingLogic import MAISITrainLogic
from MAISITrainLib.TrainSettings import TrainSettings


class SectionPresenter:
    """Base of presenters whose commands need the packages of training."""

    def __init__(
        self,
        view: Any,
        logic: MAISITrainLogic,
        settings: TrainSettings,
        machine: Settings,
        ensurePackages: Callable[[], None] = ensureTrainPackages,
    ) -> None:
        """``ensurePackages`` installs what the application's own Python lacks, after asking."""
        self._view, self._logic, self._settings, self._machine = view, logic, settings, machine
        self._ensurePackages = ensurePackages
        self._runner = CommandRunner()
        self._message = ""

    @property
    def busy(self) -> bool:
        """Whether ``poll`` must be called regularly."""
        return self._runner.busy

    def update(self) -> None:
        """Show the present state."""
        raise NotImplementedError

    def poll(self) -> None:
        """Call about ten times a second while ``busy``."""
        if self._runner.poll():
            self.update()

    def close(self) -> None:
        """The panel goes away."""
        self._runner.cancel()

    def _hasPackages(self) -> bool:
        """Whether the chosen Python has them, as far as that is our concern; else the message tells."""
        try:
            if not self._machine.python:  # trainings run on this computer, whatever computes for MAISI Synth
                self._ensurePackages()
        except (RuntimeError, CalledProcessError) as error:
            self._message = str(error)
            return False
        return True

    def _say(self, message: str) -> None:
        self._message = message
        self.update()
