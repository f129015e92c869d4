"""Which Python a child process gets, inside Slicer and outside, and that it finds the backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from maisi.remote import ssh
from MAISILib import Interpreter as module
from MAISILib.Interpreter import Interpreter, InterpreterError, backendFolder
from MAISILib.Settings import MemoryStore, Settings

BACKEND = Path(__file__).parents[2] / "MAISISynth"


@pytest.fixture
def an_application(monkeypatch, tmp_path):
    """Slicer as it runs: an ``app``, PythonSlicer on the path, variables that only its own Python understands."""
    python = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    slicer = ModuleType("slicer")
    slicer.app = object()
    slicer.util = SimpleNamespace(startupEnvironment=lambda: {"HOME": "/home/user", "PYTHONPATH": "/own/modules"})
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/opt/Slicer/lib/Python")
    return python


@pytest.fixture
def some_settings():
    settings = Settings()
    settings.python = sys.executable
    return settings


def test_outside_slicer_the_running_python_is_used():
    assert Interpreter().command("-m", "maisi.worker") == [sys.executable, "-m", "maisi.worker"]


def test_inside_slicer_its_own_python_with_its_own_environment(an_application):
    assert Interpreter().command("x.py") == [str(an_application), "x.py"]
    assert Interpreter().environment()["PYTHONHOME"] == "/opt/Slicer/lib/Python"


def test_chosen_python_gets_the_environment_from_before_slicer(an_application, some_settings):
    interpreter = Interpreter(some_settings)
    assert interpreter.command()[0] == sys.executable
    environment = interpreter.environment()
    assert environment["HOME"] == "/home/user"
    assert "PYTHONHOME" not in environment
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(BACKEND), "/own/modules"]


def test_missing_pythonslicer_is_told(an_application):
    an_application.unlink()
    with pytest.raises(InterpreterError, match="PythonSlicer was not found: choose"):
        Interpreter().command()


@pytest.mark.parametrize("path", ["/no/such/python", "", "folder"])
def test_chosen_python_must_be_runnable(tmp_path, path):
    settings = Settings()
    settings.python = str(tmp_path) if path == "folder" else path
    interpreter = Interpreter(settings)
    if path == "":
        assert interpreter.command() == [sys.executable]
        return
    with pytest.raises(InterpreterError, match="is not a Python that can be run: choose another"):
        interpreter.command()


def test_changed_setting_counts_at_once(some_settings):
    interpreter = Interpreter(some_settings)
    some_settings.python = "/no/such/python"
    with pytest.raises(InterpreterError):
        interpreter.command()


def test_own_environment_is_not_touched():
    before = dict(os.environ)
    Interpreter().environment()["PYTHONPATH"] = "changed"
    assert dict(os.environ) == before


def test_child_finds_the_backend_and_is_not_buffered(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    interpreter = Interpreter()
    code = "import sys, maisi, MAISILib; print(maisi.__file__, sys.stdout.write_through, sys.stdout.encoding)"
    command, environment = interpreter.command("-c", code), interpreter.environment()
    shown = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.split() == [str(BACKEND / "maisi" / "__init__.py"), "True", "utf-8"]
    assert environment["PYTHONPATH"].split(os.pathsep)[1] == str(tmp_path)


def test_backend_is_found_without_being_imported():
    assert backendFolder() == BACKEND
    code = "import sys; from MAISILib.Interpreter import backendFolder; backendFolder(); print('maisi' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "False"


def test_settings_have_defaults_and_keep_what_is_set():
    settings = Settings()
    assert (settings.python, settings.device) == ("", "auto")
    settings.device = "cuda:1"
    assert settings.device == "cuda:1"
    assert Settings().device == "auto", "in memory they are not shared"


def test_remote_machine_in_the_settings_gets_the_worker_and_nothing_else(some_settings):
    some_settings.remoteHost = " me@gpu1 "
    interpreter = Interpreter(some_settings)
    assert interpreter.workerCommand("-m", "maisi.worker") == [
        *[sys.executable, "-m", "maisi.remote", "--python", "python3", "me@gpu1"],
        *["-m", "maisi.worker"],
    ]
    assert interpreter.command("x.py") == [sys.executable, "x.py"]
    some_settings.remotePython = "/opt/python"
    assert "/opt/python" in interpreter.workerCommand()
    some_settings.remoteHost = ""
    assert interpreter.workerCommand("x.py") == interpreter.command("x.py")


def test_ssh_gets_back_what_slicer_changed(an_application):
    settings = Settings()
    settings.remoteHost = "gpu1"
    environment = Interpreter(settings).environment()
    assert environment["PYTHONHOME"] == "/opt/Slicer/lib/Python", "for the relay"
    noted = json.loads(environment[ssh.CHANGES])
    assert (noted["PYTHONHOME"], noted["HOME"]) == (None, "/home/user")


def test_own_python_counts_only_where_it_runs_maisi(some_settings):
    assert Settings().usesOwnPython
    assert not some_settings.usesOwnPython
    remote = Settings()
    remote.remoteHost = "gpu1"
    assert not remote.usesOwnPython


def test_settings_use_any_store_that_behaves_like_qsettings():
    class Store(MemoryStore):
        def __len__(self):  # a store that happens to be empty is still the store
            return 0

    store = Store()
    Settings(store).device = "cpu"
    assert store.value("MAISI/Device", None) == "cpu"
    assert Settings(store).device == "cpu"


def test_no_qt_no_torch_and_no_scene_are_imported():
    names = sorted(path.stem for path in Path(module.__file__).parent.glob("*.py"))
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module("MAISILib." + name)
print([m for m in ("qt", "ctk", "slicer", "vtk", "torch", "monai") if m in sys.modules])
"""
    shown = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
