"""The Synthesize panel: the presenters of the module's panel, shown in the browser."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import slicer
from trame_server import Server
from trame_server.utils.typed_state import TypedState

from MAISILib.Settings import Settings
from MAISISynthLib.InputPresenter import InputPresenter, InputState
from MAISISynthLib.SynthesisChoices import Choices
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.SynthesisPresenter import RunState, SynthesisPresenter

POLL_SECONDS = 0.1
LARGEST_SEED = 2**31 - 1


@dataclass
class SynthesisState:
    """What the panel shows; see ``RunState`` and ``InputState``."""

    status: str = ""
    outcome: str = ""
    button: str = ""
    enabled: bool = False
    choosable: bool = True
    running: bool = False
    percent: int = 0
    busy: bool = False
    progress: str = ""
    log: str = ""
    seed: int = 1
    whole: bool = False
    hasBefore: bool = False


class SynthesisTool:
    """Between the panel and the presenters. ``onResult(new, before)`` is called with every new CT."""

    def __init__(self, server: Server, logic: MAISISynthLogic, onResult: Callable) -> None:
        self._server, self._onResult = server, onResult
        self.state = TypedState(server.state, SynthesisState)
        self._before: slicer.vtkMRMLScalarVolumeNode | None = None
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self._polling: asyncio.Task | None = None
        settings = Settings()
        self._inputs = InputPresenter(self, logic, settings)
        self._presenter = SynthesisPresenter(self, self._inputs, logic, settings)
        name = self.state.name
        self.state.bind_changes({(name.seed, name.whole): lambda *_values: self._choose()})

    def open(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """What to synthesize, and the CT to change (None: there is none yet)."""
        self._segmentationNode, self._before = segmentationNode, before
        self._choose()

    def close(self) -> None:
        """The server goes down: nothing may go on."""
        self._presenter.close()

    def edited(self) -> None:
        """The segmentation was edited, and the user paused."""
        self._presenter.edited()

    # ---- what the presenters say

    def showInput(self, state: InputState) -> None:
        """See ``InputPresenter.View``."""
        self.state.data.status = "\n".join([state.status, *state.notices])

    def showRun(self, state: RunState) -> None:
        """See ``SynthesisPresenter.View``."""
        data = self.state.data
        data.outcome, data.button, data.enabled = state.outcome, state.buttonText, state.buttonEnabled
        data.choosable, data.running = state.inputsEnabled, state.running
        data.percent, data.busy, data.progress = state.percent or 0, state.percent is None, state.progressText
        data.log = state.log if state.logOpened else ""

    def showResult(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, before: slicer.vtkMRMLScalarVolumeNode | None
    ) -> None:
        """See ``SynthesisPresenter.View``."""
        self._before = volumeNode
        self._onResult(volumeNode, before)
        self._choose()

    # ---- what the user does

    def press(self) -> None:
        """Start, or cancel what runs."""
        self._presenter.press()
        if self._presenter.busy:
            self._polling = asyncio.create_task(self._poll())  # a task that nobody holds may vanish

    def dice(self) -> None:
        """Another seed."""
        self.state.data.seed = random.randint(0, LARGEST_SEED)

    def _choose(self) -> None:
        data = self.state.data
        data.hasBefore = self._before is not None
        before = None if data.whole else self._before
        seed = min(max(int(data.seed or 0), 0), LARGEST_SEED)
        self._inputs.setChoices(replace(Choices(), segmentation=self._segmentationNode, before=before, seed=seed))
        self._presenter.update()

    async def _poll(self) -> None:
        while self._presenter.busy:
            await asyncio.sleep(POLL_SECONDS)
            with self._server.state:
                self._presenter.poll()
