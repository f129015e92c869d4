"""What is missing is found without imports, and installed through whichever installer this Slicer has."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from packaging.requirements import Requirement

from MAISILib import Dependencies
from MAISITrainLib.Requirements import FILE

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


class AnApplication:
    """Slicer with an installer and an answer of the user; ``installed`` is what its Python has."""

    def __init__(self, monkeypatch, answer: bool = True) -> None:
        self.answer, self.questions, self.installed = answer, [], {"numpy": "2.0"}
        self.installs: list[tuple[str, list[str]]] = []
        monkeypatch.setattr(Dependencies, "version", self.version)
        self.slicer = ModuleType("slicer")
        self.slicer.__path__ = []
        self.slicer.app = SimpleNamespace(testingEnabled=lambda: False)
        self.slicer.util = SimpleNamespace(confirmOkCancelDisplay=self.ask, pip_install=self.installOld)
        monkeypatch.setitem(sys.modules, "slicer", self.slicer)
        monkeypatch.delitem(sys.modules, "slicer.packaging", raising=False)
        self.monkeypatch = monkeypatch

    def version(self, name: str) -> str:
        if name not in self.installed:
            raise PackageNotFoundError(name)
        return self.installed[name]

    def addModule(self, name: str, **functions) -> None:
        module = ModuleType(name)
        module.__spec__ = SimpleNamespace(name=name)
        vars(module).update(functions)
        self.monkeypatch.setitem(sys.modules, name, module)
        if name == "slicer.packaging":
            self.slicer.packaging = module

    def withNewInstaller(self) -> AnApplication:
        self.addModule("slicer.packaging", pip_ensure=self.installNew)
        return self

    def withPyTorchExtension(self) -> AnApplication:
        self.addModule("PyTorchUtils", PyTorchUtilsLogic=lambda: SimpleNamespace(installTorch=self.installTorch))
        return self

    def ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer

    def install(self, how: str, names: list[str]) -> None:
        self.installs.append((how, names))
        self.installed.update({Requirement(name).name: "99" for name in names})

    def installOld(self, names: list[str]) -> None:
        self.install("pip_install", names)

    def installNew(self, needed: list[Requirement], requester: str) -> None:
        self.install("pip_ensure", list(map(str, needed)))

    def installTorch(self, askConfirmation: bool, torchVersionRequirement: str) -> None:
        assert askConfirmation
        self.install("PyTorch extension", ["torch" + torchVersionRequirement])


@pytest.fixture
def an_application(monkeypatch):
    return AnApplication(monkeypatch)


def names(needed) -> list[str]:
    return [requirement.name for requirement in needed]


def test_requirements_file_says_the_same_as_the_package():
    declared = re.search(r"^dependencies = \[(.*?)^\]", PYPROJECT.read_text(), re.MULTILINE | re.DOTALL).group(1)
    assert set(map(str, Dependencies.requirements())) == {
        str(Requirement(text)) for text in re.findall(r'"(.*?)"', declared)
    }


def test_requirements_file_of_training_says_the_same_as_the_extras():
    text = PYPROJECT.read_text()
    extras = "".join(re.search(rf"^{name} = \[(.*?)^\]", text, re.M | re.S).group(1) for name in ("train", "evaluate"))
    assert set(map(str, Dependencies.requirements(FILE))) == {
        str(Requirement(found)) for found in re.findall(r'"(.*?)"', extras)
    }


def test_nothing_is_missing_where_the_tests_run():
    assert Dependencies.missing() == []
    Dependencies.ensure()


def test_absent_and_outdated_packages_are_missing(an_application):
    an_application.installed.update(torch="2.3.1", monai="1.6.1", scipy="1.12.dev0")
    fine = {"numpy", "monai", "scipy"}
    assert set(names(Dependencies.missing())) == set(names(Dependencies.requirements())) - fine
    assert names(Dependencies.missing([Requirement("torch>=2"), Requirement("numpy>=3")])) == ["numpy"]


def test_local_builds_of_torch_count(an_application):
    an_application.installed["torch"] = "2.13.0+cpu"
    assert "torch" not in names(Dependencies.missing())


def test_new_slicer_installs_through_its_packaging_module(an_application):
    an_application.withNewInstaller()
    Dependencies.ensure()
    [(how, installed)] = an_application.installs
    assert how == "pip_ensure"
    assert "torch>=2.6" in installed
    assert "numpy>=1.26" not in installed
    assert not an_application.questions, "pip_ensure asks by itself"
    assert Dependencies.missing() == []


def test_older_slicer_asks_and_then_installs(an_application):
    Dependencies.ensure()
    [(how, installed)] = an_application.installs
    assert how == "pip_install"
    assert "monai>=1.5" in installed
    [question] = an_application.questions
    assert "monai>=1.5" in question


def test_declined_installation_is_an_error_and_installs_nothing(an_application):
    an_application.answer = False
    with pytest.raises(RuntimeError, match="declined"):
        Dependencies.ensure()
    assert an_application.installs == []


def test_torch_comes_through_the_pytorch_extension_where_there_is_one(an_application):
    an_application.withPyTorchExtension().withNewInstaller()
    Dependencies.ensure()
    assert an_application.installs[0] == ("PyTorch extension", ["torch>=2.6"])
    assert "torch>=2.6" not in an_application.installs[1][1]


def test_installation_without_effect_is_an_error(an_application):
    an_application.installOld = lambda names: None
    an_application.slicer.util.pip_install = an_application.installOld
    with pytest.raises(RuntimeError, match=r"could not be installed: torch>=2\.6, monai"):
        Dependencies.ensure()


def test_installer_that_is_skipped_in_testing_mode_is_no_error(an_application):
    an_application.withNewInstaller()
    an_application.slicer.packaging.pip_ensure = lambda needed, requester: None
    an_application.slicer.app.testingEnabled = lambda: True
    Dependencies.ensure()


def test_what_else_is_needed_is_installed_too(an_application):
    an_application.withNewInstaller()
    Dependencies.ensure([Requirement("pydantic>=2.7"), Requirement("numpy>=1")])
    assert an_application.installs == [("pip_ensure", ["pydantic>=2.7"])]


def test_outside_the_application_the_command_is_told(an_application):
    del an_application.slicer.app
    with pytest.raises(RuntimeError, match=r'pip install "torch>=2\.6" "monai>=1\.5"'):
        Dependencies.ensure()
