"""The Python packages that maisi needs in the application's own Python: which are missing, and their installation.

Nothing here runs at import, and nothing is imported to see whether it is there. With an external Python chosen in the
settings, its owner installs the packages from the same list.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from MAISILib.ResourcePaths import REQUIREMENTS
from MAISILib.Translate import _

REQUESTER = "MAISI"


def requirements(file: Path = REQUIREMENTS) -> list[Requirement]:
    """What maisi needs, or what another requirements file lists."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def missing(needed: Sequence[Requirement] | None = None) -> list[Requirement]:
    """Those of ``needed`` (default: all that maisi needs) that this Python lacks or has in an unfit version."""
    return [requirement for requirement in needed or requirements() if not _isInstalled(requirement)]


def ensure(needed: Sequence[Requirement] | None = None) -> None:
    """Install what is missing of ``needed`` (default: all that maisi needs), after asking the user.

    PyTorch comes through the PyTorch extension where that is installed, since it knows the build for this computer's
    GPU; the rest through ``slicer.packaging`` (Slicer 5.12) or, before that, ``slicer.util.pip_install``.

    Raises:
        RuntimeError: the user declined, the installation did not help, or this is not the application.
        subprocess.CalledProcessError: pip failed.
    """
    if not missing(needed):
        return
    slicer = sys.modules.get("slicer")
    if not hasattr(slicer, "app"):
        names = " ".join(f'"{requirement}"' for requirement in missing(needed))
        raise RuntimeError(_("Python packages are missing; install them with: pip install {names}").format(names=names))
    _installTorch(missing(needed))
    if lacking := missing(needed):
        _install(slicer, lacking)
    if (lacking := missing(needed)) and not slicer.app.testingEnabled():
        names = ", ".join(map(str, lacking))
        raise RuntimeError(_("These Python packages could not be installed: {names}").format(names=names))


def _isInstalled(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _installTorch(lacking: Sequence[Requirement]) -> None:
    torch = [requirement for requirement in lacking if requirement.name == "torch"]
    if torch and importlib.util.find_spec("PyTorchUtils") is not None:
        import PyTorchUtils

        specifier = str(torch[0].specifier)
        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=specifier)


def _install(slicer, lacking: list[Requirement]) -> None:
    if importlib.util.find_spec("slicer.packaging") is not None:
        import slicer.packaging

        slicer.packaging.pip_ensure(lacking, requester=REQUESTER)
        return
    names = "\n".join(map(str, lacking))
    question = _(
        "MAISI needs these Python packages:\n\n{names}\n\nDownload and install them now? This can take several minutes."
    )
    if not slicer.util.confirmOkCancelDisplay(question.format(names=names)):
        raise RuntimeError(_("The installation of Python packages was declined."))
    slicer.util.pip_install([str(requirement) for requirement in lacking])
