"""What the section "Models and environment" shows and allows, decided without Qt. It does nothing unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import Protocol

from maisi.errors import InputError
from maisi.protocol import Hello
from MAISILib import Dependencies
from MAISILib.EnvironmentCheck import EnvironmentCheck
from MAISILib.Interpreter import Interpreter
from MAISILib.ModelCommand import ModelCommand
from MAISILib.ModelTable import ModelRow, ModelTable, consentText, modelTable, toldTable, unknownTable
from MAISILib.Settings import AUTO, Settings
from MAISILib.Translate import _
from MAISILib.Worker import Worker


@dataclass(frozen=True)
class EnvironmentState:
    """Everything that the section shows, and the two lists that the section "Synthesize" offers.

    Attributes:
        models: all models of the machine that computes. folder: where their weights are there; "" while unknown.
        python: the chosen one, "" for the application's own.
        remoteHost: the machine that computes, "" for this one.
        devices: name and description of what can be chosen. device: the chosen one.
        message: what was found out or what goes on. busy: whether something goes on, which can be cancelled.
    """

    models: tuple[ModelRow, ...]
    folder: str
    python: str
    remoteHost: str
    devices: tuple[tuple[str, str], ...]
    device: str
    message: str
    busy: bool


class View(Protocol):
    """What the presenter needs of a panel."""

    def showEnvironment(self, state: EnvironmentState) -> None:
        """Show this state."""

    def confirm(self, question: str) -> bool:
        """Ask the user."""


class EnvironmentPresenter:
    """``check`` and ``command`` make the running things; tests give others."""

    def __init__(
        self,
        view: View,
        worker: Worker,
        settings: Settings,
        ensurePackages: Callable[[], None] = Dependencies.ensure,
        check: Callable[[Interpreter], EnvironmentCheck] = EnvironmentCheck,
        command: Callable[..., ModelCommand] = ModelCommand,
    ) -> None:
        self._view, self._worker, self._settings = view, worker, settings
        self._ensurePackages, self._check, self._command = ensurePackages, check, command
        self._running: EnvironmentCheck | ModelCommand | None = None
        self._listing = False  # whether what runs is a list of the other machine's models
        self._hello: Hello | None = None
        self._told: ModelTable | None = None  # by the other machine
        self._message = ""

    @property
    def busy(self) -> bool:
        """Whether ``poll`` must be called regularly."""
        return self._running is not None

    def update(self) -> None:
        """Look at the models folder of this machine, if it computes, and show everything."""
        table = ModelTable()
        try:
            table = (self._told or unknownTable()) if self._settings.remoteHost else modelTable()
        except InputError as error:
            self._message = str(error)
        self._view.showEnvironment(
            EnvironmentState(
                models=table.rows,
                folder=table.folder,
                python=self._settings.python,
                remoteHost=self._settings.remoteHost,
                devices=self._devices(),
                device=self._settings.device,
                message=self._message,
                busy=self.busy,
            )
        )

    def setPython(self, path: str) -> None:
        """The user chose another Python; the worker of the old one ends, and with it what it was doing."""
        if path != self._settings.python:
            self._settings.python = path
            self._startAnew()

    def setRemoteHost(self, host: str) -> None:
        """The user chose another machine, or this one again (""); the worker on the old one ends."""
        if host.strip() != self._settings.remoteHost:
            self._settings.remoteHost = host.strip()
            self._startAnew()

    def _startAnew(self) -> None:
        self._worker.close()
        self._hello, self._told, self._message = None, None, ""
        self.update()

    def setDevice(self, name: str) -> None:
        """The user chose another device; it counts from the next run on."""
        self._settings.device = name

    def check(self) -> None:
        """Tell which packages are missing, or else whether MAISI starts, and on which devices."""
        missing = Dependencies.missing() if self._settings.usesOwnPython else []
        if missing:
            text = _('These Python packages are missing: {names}. Press "Install packages".')
            self._say(text.format(names=", ".join(map(str, missing))))
            return
        self._run(self._check(Interpreter(self._settings)), _("Starting the chosen Python"))

    def install(self) -> None:
        """Install the missing packages into the application's own Python, after asking."""
        try:
            self._ensurePackages()
            self._say(_("All Python packages that MAISI needs are there."))
        except (RuntimeError, CalledProcessError) as error:
            self._say(str(error))

    def download(self, model: str) -> None:
        """Fetch the weights of a model to the machine that computes, once the user has accepted size and license."""
        if not self.busy and self._view.confirm(consentText(model, self._settings.remoteHost)):
            self._do(_("Downloading {model}").format(model=model), "download", model, "--accept-license")

    def remove(self, model: str) -> None:
        """Delete the downloaded weights of a model from the machine that computes, after asking."""
        machine = self._settings.remoteHost or _("this computer")
        question = _("Delete the downloaded weights of {model} from {machine}?").format(model=model, machine=machine)
        if not self.busy and self._view.confirm(question):
            self._do(_("Deleting {model}").format(model=model), "remove", model)

    def cancel(self) -> None:
        """Stop what goes on; a download goes on from there the next time."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
            self._say(_("Cancelled."))

    def poll(self) -> None:
        """Call about ten times a second while ``busy``."""
        if self._running is None or not (self._running.poll() or self._running.done):
            return
        running = self._running
        if running.done:
            self._running = None
        if self._listing:
            self._takeList(running)
            return
        if isinstance(running, EnvironmentCheck):
            self._hello = running.hello
            sentence = running.error or describeHello(running.hello)
        else:
            sentence = running.error or running.line
        if running.done and not running.error and self._settings.remoteHost:
            self._do(sentence, "list", "--json", listing=True)
        else:
            self._say(sentence)

    def close(self) -> None:
        """The panel goes away: nothing may go on."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def _do(self, message: str, *arguments: str, listing: bool = False) -> None:
        self._run(self._command(Interpreter(self._settings), *arguments), message, listing)

    def _run(self, running: EnvironmentCheck | ModelCommand, message: str, listing: bool = False) -> None:
        self._running, self._listing = running, listing
        self._say(message)

    def _takeList(self, command: ModelCommand) -> None:
        """The other machine has listed its models, or said why not."""
        if not command.done:
            return
        try:
            self._told = toldTable(command.line)
        except ValueError:
            self._message = command.error or _("Its models could not be listed: {line}").format(line=command.line)
        self.update()

    def _say(self, message: str) -> None:
        self._message = message
        self.update()

    def _devices(self) -> tuple[tuple[str, str], ...]:
        """The devices that the worker or the last check told; before that only "auto", and the one in the settings."""
        hello = self._worker.hello or self._hello
        found = {AUTO: _("automatic")}
        for device in hello.devices if hello is not None else []:
            text = _("{name}: {label}, {free:.1f} of {total:.1f} GB free")
            found[device["name"]] = text.format(
                name=device["name"], label=device["label"], free=device["free_gb"], total=device["total_gb"]
            )
        found.setdefault(self._settings.device, self._settings.device)
        return tuple(found.items())


def describeHello(hello: Hello) -> str:
    """For example "MAISI 0.1.0 with PyTorch 2.8.0 works, on: cuda:0, cpu."."""
    return _("MAISI {version} with PyTorch {torch} works, on: {devices}.").format(
        version=hello.version, torch=hello.torch, devices=", ".join(device["name"] for device in hello.devices)
    )
