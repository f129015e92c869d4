"""What every evaluation hands over: a table for people, and JSON with all that is needed to read its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from maisi.files import write_json
from maisi.outputs.record import software

FORMAT = "maisi-evaluation"


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation.

    Attributes:
        kind: the sub-command. table: rows of text, the first one the headings. result: JSON-able, with settings,
            names of networks and counts. notices: what the reader should know.
    """

    kind: str
    table: Sequence[Sequence[str]]
    result: dict[str, Any]
    notices: Sequence[str] = field(default=())

    def write(self, path: Path) -> None:
        """Write the JSON file. Raises InputError: that cannot be done."""
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        head = {"format": FORMAT, "version": 1, "kind": self.kind, "created": created, "software": software()}
        write_json(path, {**head, **self.result, "notices": list(self.notices)})


def number(value: float | None, digits: int = 1) -> str:
    """A figure in a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def share(part: int, whole: int) -> str:
    """``"9 of 10 (90 %)"``."""
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "-"
