"""Which Python a child process gets, and in which environment."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from MAISILib.Settings import Settings
from MAISILib.Translate import _


class InterpreterError(Exception):
    """There is no usable Python; the text says what to do."""


class Interpreter:
    """The Python chosen in the settings, else PythonSlicer inside Slicer, else the Python that runs now.

    Asked anew at every start of a process, so a changed setting counts from the next start on.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()

    def command(self, *arguments: str) -> list[str]:
        """The command line of a Python process with ``arguments``. Raises InterpreterError."""
        return [self._python(), *arguments]

    def workerCommand(self, *arguments: str) -> list[str]:
        """The command line of a worker: as ``command``, or of its relay if the settings name a remote machine."""
        if host := self._settings.remoteHost:
            return self.command("-m", "maisi.remote", "--python", self._settings.remotePython, host, *arguments)
        return self.command(*arguments)

    def environment(self) -> dict[str, str]:
        """The environment of that process, in which ``maisi`` can be imported and output is not held back.

        PythonSlicer needs Slicer's own variables; an external Python must not see them, nor must ssh.
        """
        environment = _startupEnvironment() if self._settings.python else dict(os.environ)
        if self._settings.remoteHost:
            from maisi.remote.ssh import note_changes  # only now: the backend may be what is missing

            environment |= note_changes(environment, _startupEnvironment())
        paths = [str(backendFolder()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        environment["PYTHONUNBUFFERED"] = "1"
        environment["PYTHONIOENCODING"] = "utf-8"
        return environment

    def _python(self) -> str:
        if chosen := self._settings.python:
            if shutil.which(chosen) is None:
                raise InterpreterError(
                    _("{path} is not a Python that can be run: choose another one in the settings.").format(path=chosen)
                )
            return chosen
        if not _insideSlicer():
            return sys.executable
        if (python := shutil.which("PythonSlicer")) is None:
            raise InterpreterError(_("PythonSlicer was not found: choose a Python in the settings."))
        return python


def backendFolder() -> Path:
    """The folder that holds the package ``maisi``, found without importing it (source tree, installed, or wheel)."""
    return Path(importlib.util.find_spec("maisi").origin).parents[1]


def _insideSlicer() -> bool:
    """Whether this is the application; slicer-core has the module ``slicer`` but no ``slicer.app``."""
    return hasattr(sys.modules.get("slicer"), "app")


def _startupEnvironment() -> dict[str, str]:
    """The user's environment, as it was before Slicer changed it."""
    if _insideSlicer():
        return dict(sys.modules["slicer"].util.startupEnvironment())
    return dict(os.environ)
