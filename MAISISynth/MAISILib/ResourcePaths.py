"""Every path of a shipped file, in one place; right in the source tree and when installed."""

from __future__ import annotations

from pathlib import Path

RESOURCES = Path(__file__).resolve().parents[1] / "Resources"
REQUIREMENTS = RESOURCES / "MAISISynth-requirements.txt"
