"""The Python packages that training needs beyond those of synthesis."""

from __future__ import annotations

from pathlib import Path

from MAISILib import Dependencies

FILE = Path(__file__).resolve().parents[1] / "Resources" / "MAISITrain-requirements.txt"


def ensurePackages() -> None:
    """Install what is missing for training, after asking. Raises: as ``Dependencies.ensure``."""
    Dependencies.ensure([*Dependencies.requirements(), *Dependencies.requirements(FILE)])
