"""What the section "Training" shows and allows, decided without Qt: preset, form, launcher, start."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Protocol

from maisi.errors import InputError
from maisi.train.presets import titles
from MAISILib.MaisiCommand import MaisiCommand
from MAISILib.Translate import _
from MAISITrainLib.Launching import LAUNCHERS
from MAISITrainLib.SectionPresenter import SectionPresenter
from MAISITrainLib.SlurmOptions import SlurmOptions
from MAISITrainLib.TrainingForm import Field, FormError, TrainingForm

PREPARED = "data.prepared"
ANY_FOLDER = "."  # while none is chosen: it is not looked at before the training


@dataclass(frozen=True)
class StartState:
    """Everything that the section shows, but for the rows of the form.

    Attributes:
        presets: names. preset: the chosen one, or "". title: what it is for.
        sections: of the form. section: the one that is shown.
        launcher: one of LAUNCHERS. slurm: what a job asks for. message: mistakes in the form, or what goes on.
        startEnabled: whether it can be started.
    """

    presets: tuple[str, ...]
    preset: str
    title: str
    sections: tuple[str, ...]
    section: str
    launcher: str
    slurm: SlurmOptions
    message: str
    startEnabled: bool


@dataclass(frozen=True)
class FormRow:
    """One line of the form: its key and what stands there."""

    field: Field
    text: str


class View(Protocol):
    """What the presenter needs of a panel."""

    def showStart(self, state: StartState) -> None:
        """Show this state."""

    def showForm(self, rows: tuple[FormRow, ...]) -> None:
        """Show these lines in place of those before."""

    def runStarted(self, path: str) -> None:
        """A training was started in this folder."""


class StartPresenter(SectionPresenter):
    """The form is read, checked and used by the chosen Python, one command after the other."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As ``SectionPresenter``."""
        super().__init__(*arguments, **options)
        self._schemas: dict[str, Any] = {}  # by stage
        self._form: TrainingForm | None = None
        self._preset = self._section = ""
        self._checkAgain = False  # the form has changed since the check that runs
        self._startedIn = ""  # the folder of the training that is being started

    def update(self) -> None:
        """Show the present state."""
        launcher = self._settings.text("Launcher")
        self._view.showStart(
            StartState(
                presets=tuple(titles()),
                preset=self._preset,
                title=titles().get(self._preset, _("Choose what to train.")),
                sections=self._form.sections if self._form else (),
                section=self._section,
                launcher=launcher if launcher in LAUNCHERS else LAUNCHERS[0],
                slurm=self._settings.slurm,
                message=self._message or self._whereItRuns(),
                startEnabled=self._form is not None and not self._isStarting,
            )
        )

    # ---- what the user does

    def choosePreset(self, name: str) -> None:
        """Load the form of a preset; not while a training is being started."""
        if self._isStarting:
            self.update()
            return
        self._runner.cancel()
        self._preset, self._form, self._message = name, None, ""
        self._view.showForm(())
        if name and self._hasPackages():
            self._message = _("Loading the form")
            self._runner.run(self._logic.showCommand(name, {PREPARED: ANY_FOLDER}), self._onValues)
        self.update()

    def chooseSection(self, name: str) -> None:
        """Show another part of the form."""
        self._section = name
        self._showForm()
        self.update()

    def setText(self, key: str, text: str) -> None:
        """The user typed something in the form; it is checked."""
        if self._form is not None and text != self._form.text(key):
            self._form.setText(key, text)
            self._check()

    def setLauncher(self, name: str) -> None:
        """The user chose how it is started."""
        self._settings.setText("Launcher", name)
        self.update()

    def setSlurm(self, **values: Any) -> None:
        """The user changed what a job asks for."""
        self._settings.slurm = replace(self._settings.slurm, **values)
        _valid, sentence = self._settings.slurm.isValid()
        self._say(sentence)

    def start(self, runFolder: str, processes: int) -> None:
        """Start the training in a new folder."""
        prepared = self._settings.text("Prepared")
        if not prepared or not runFolder:
            self._say(_("Choose the folder of the prepared data set, and a new folder for this training."))
            return
        self._settings.setText("Run", runFolder)
        launcher = self._settings.text("Launcher") or LAUNCHERS[0]
        try:
            changes = {**self._form.changes(), PREPARED: prepared}
            command = self._logic.startCommand(
                self._preset, runFolder, changes, processes, launcher, self._settings.slurm
            )
        except (FormError, InputError) as error:
            self._say(str(error))
            return
        self._runner.cancel()  # a check of the form
        self._checkAgain, self._startedIn = False, runFolder
        self._runner.run(command, self._onStarted)
        self._say(_("Starting"))

    def poll(self) -> None:
        """Call about ten times a second while ``busy``."""
        if self._runner.poll():
            if self._checkAgain and not self.busy:
                self._check()
            self.update()

    def close(self) -> None:
        """The panel goes away. A training that is just being started is left alone."""
        if not self._isStarting:
            self._runner.cancel()

    # ---- commands

    @property
    def _isStarting(self) -> bool:
        return self.busy and bool(self._startedIn)

    def _whereItRuns(self) -> str:
        """Said where it may surprise."""
        if not self._machine.remoteHost:
            return ""
        text = _(
            "Trainings run on this computer, not on {host}. To train there, run maisi train on it and "
            "add the training's folder to the runs below."
        )
        return text.format(host=self._machine.remoteHost)

    def _onValues(self, command: MaisiCommand) -> None:
        self._message = command.error
        if command.error:
            return
        values = json.loads("\n".join(command.output))
        stage = values["stage"]
        if stage in self._schemas:
            self._makeForm(values)
            return
        self._runner.run(self._logic.schemaCommand(stage), lambda ended: self._onSchema(stage, values, ended))

    def _onSchema(self, stage: str, values: dict[str, Any], command: MaisiCommand) -> None:
        self._message = command.error
        if not command.error:
            self._schemas[stage] = json.loads("\n".join(command.output))
            self._makeForm(values)

    def _makeForm(self, values: dict[str, Any]) -> None:
        self._form = TrainingForm(self._schemas[values["stage"]], values)
        if self._section not in self._form.sections:
            self._section = self._form.sections[0]
        self._showForm()

    def _check(self) -> None:
        """Ask ``maisi train`` what it thinks of the form as it is now."""
        mistakes = self._form.mistakes()
        self._checkAgain = self.busy
        if mistakes or self.busy:
            self._say(" ".join(mistakes.values()) or self._message)
            return
        changes = {PREPARED: ANY_FOLDER, **self._form.changes()}
        self._runner.run(self._logic.showCommand(self._preset, changes), self._onChecked)

    def _onChecked(self, command: MaisiCommand) -> None:
        self._message = command.error.replace(f"{self._preset}: ", "")

    def _onStarted(self, command: MaisiCommand) -> None:
        path, self._startedIn, self._checkAgain = self._startedIn, "", False
        self._message = command.error.replace(f"{self._preset}: ", "") or command.line
        if not command.error:
            self._view.runStarted(path)

    def _showForm(self) -> None:
        form, section = self._form, self._section
        if form is not None:
            rows = (FormRow(f, form.text(key)) for key, f in form.fields.items() if f.section == section)
            self._view.showForm(tuple(rows))
