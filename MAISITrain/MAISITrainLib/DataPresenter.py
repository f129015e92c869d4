"""What the section "Data" shows and allows, decided without Qt."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from maisi.errors import InputError
from MAISILib.MaisiCommand import MaisiCommand
from MAISILib.ModelTable import modelTable
from MAISILib.Translate import _
from MAISITrainLib.DatasetCheck import readReport
from MAISITrainLib.SectionPresenter import SectionPresenter

NO_LATENTS = ""


@dataclass(frozen=True)
class DataState:
    """Everything that the section shows.

    Attributes:
        dataset, prepared: paths. options: more words for ``maisi prepare``.
        encoders: name and title of models whose autoencoder can make the latents. encoder: the chosen one, or "".
        rows: case, used, problem, what to do. message: what was found out or what goes on.
        busy: whether something goes on, which can be cancelled.
    """

    dataset: str
    prepared: str
    options: str
    encoders: tuple[tuple[str, str], ...]
    encoder: str
    rows: tuple[tuple[str, ...], ...]
    message: str
    busy: bool


class View(Protocol):
    """What the presenter needs of a panel."""

    def showData(self, state: DataState) -> None:
        """Show this state."""


class DataPresenter(SectionPresenter):
    """Checking and preparing a data set. Cancelled work goes on from there the next time."""

    _rows: tuple[tuple[str, ...], ...] = ()

    @property
    def prepared(self) -> str:
        """The folder of the prepared data set."""
        return self._settings.text("Prepared")

    def update(self) -> None:
        """Show the present state."""
        encoders, encoder = self._encoders(), self._settings.text("Encoder")
        self._view.showData(
            DataState(
                dataset=self._settings.text("Dataset"),
                prepared=self.prepared,
                options=self._settings.text("PrepareOptions"),
                encoders=encoders,
                encoder=encoder if encoder in dict(encoders) else NO_LATENTS,
                rows=self._rows,
                message=self._runner.line or self._message,
                busy=self.busy,
            )
        )

    def setText(self, name: str, text: str) -> None:
        """The user chose or typed "Dataset", "Prepared", "PrepareOptions" or "Encoder"."""
        self._settings.setText(name, text)

    def check(self) -> None:
        """Look at all files of the data set."""
        self._start([], self._onChecked, _("Looking at the data set"), check=True)

    def prepare(self) -> None:
        """Make the prepared data set, or go on with it."""
        encoder = self._settings.text("Encoder")
        words = [f"--model={encoder}"] if encoder in dict(self._encoders()) and encoder else []
        self._start(words, self._onPrepared, _("Preparing the data set"))

    def cancel(self) -> None:
        """Stop what goes on; what is complete stays."""
        if self.busy:
            self._runner.cancel()
            self._say(_("Cancelled; the next time it goes on from there."))

    def _start(self, words: list[str], then: Callable[[MaisiCommand], None], message: str, check: bool = False) -> None:
        dataset = self._settings.text("Dataset")
        if self.busy:
            return
        if not dataset or not self.prepared:
            self._say(_("Choose the data set, and a folder for the prepared one."))
            return
        try:
            words += shlex.split(self._settings.text("PrepareOptions"))
        except ValueError:
            self._say(_("The options have a quotation mark without its second one."))
            return
        if not self._hasPackages():
            self.update()
            return
        self._rows = ()
        self._runner.run(self._logic.prepareCommand(dataset, self.prepared, words, check=check), then)
        self._say(message)

    def _onChecked(self, command: MaisiCommand) -> None:
        self._message = command.error
        if not command.error:
            self._readReport()

    def _onPrepared(self, command: MaisiCommand) -> None:
        self._readReport()
        self._message = command.error or command.line

    def _readReport(self) -> None:
        try:
            report = readReport(self.prepared)
            self._rows, self._message = report.rows, report.summary
        except InputError as error:
            self._message = str(error)

    def _encoders(self) -> tuple[tuple[str, str], ...]:
        try:
            found = [(row.name, row.title) for row in modelTable().rows if row.installed]
        except InputError as error:
            self._message = str(error)
            found = []
        return ((NO_LATENTS, _("None (to train an autoencoder)")), *found)
