"""The configurations that ship with the program. Standard library only, so that a panel can list them."""

from __future__ import annotations

from pathlib import Path

PRESETS = Path(__file__).parents[1] / "data" / "train"


def presets() -> dict[str, Path]:
    """Their files, by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def titles() -> dict[str, str]:
    """What each of them is for, by name: the comment in its first line."""
    return {
        name: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").strip()
        for name, path in presets().items()
    }
