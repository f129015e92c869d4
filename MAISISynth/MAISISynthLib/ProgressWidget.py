"""A progress bar for work of which the end may not be known."""

from __future__ import annotations

from typing import Any


def showProgress(bar: Any, running: bool, percent: int | None) -> None:
    """Show how far it is on the QProgressBar ``bar`` while ``running``; None is Qt's "busy"."""
    bar.visible = running
    bar.maximum = 0 if percent is None else 100
    bar.value = percent or 0
