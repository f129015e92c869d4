"""The folder of a prepared data set: where everything stands, and what is complete.

``plan.json`` holds what is to be made; ``cases/ID.json`` the record of a case, written after its files, so that a case
is done when its record says so and its files have the sizes that stand there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maisi.errors import InputError
from maisi.files import whole_file, write_json
from maisi.train.prepare.cases import Case
from maisi.train.prepare.check import Checked
from maisi.train.prepare.numbering import Numbering
from maisi.train.prepared import Item, Settings


@dataclass(frozen=True)
class Plan:
    """What is to be made: usable cases with the SHA-256 of their content, and how.

    Attributes:
        model: name, whose autoencoder makes the latents; autoencoder: weight file for it, or folder of a run, in its
            place. Both None: no latents.
        device: to encode on.
    """

    cases: tuple[Case, ...]
    contents: dict[str, str]
    numbering: Numbering
    settings: Settings
    model: str | None = None
    autoencoder: Path | None = None
    device: str = "auto"

    @property
    def encodes(self) -> bool:
        """Whether latents are wanted."""
        return self.model is not None or self.autoencoder is not None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        cases = [case.to_json() for case in self.cases]
        rest = {"numbering": asdict(self.numbering), "settings": asdict(self.settings), "contents": self.contents}
        file = self.autoencoder and str(self.autoencoder)
        return {"cases": cases, **rest, "model": self.model, "autoencoder": file, "device": self.device}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """Inverse of :meth:`to_json`."""
        parts = {
            "cases": tuple(map(Case.from_json, values["cases"])),
            "numbering": Numbering(**values["numbering"]),
            "settings": Settings.from_json(values["settings"]),
            "autoencoder": values["autoencoder"] and Path(values["autoencoder"]),
        }
        return cls(**{**values, **parts})


class PreparedFolder:
    """Names and records in a prepared folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan, self.report, self.log = path / "plan.json", path / "report.json", path / "log.txt"

    def record(self, case: str) -> Path:
        """What is known about the files of a case."""
        return self.path / "cases" / f"{case}.json"

    def read_plan(self) -> Plan:
        """Raises InputError: nothing was planned here."""
        try:
            return Plan.from_json(json.loads(self.plan.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path} has no plan to go on with ({error!r}); run maisi prepare again.") from error

    def read_report(self) -> dict[str, Checked]:
        """What the last look at the data set told, by case; empty where there is none that can be read."""
        try:
            cases = json.loads(self.report.read_text(encoding="utf-8"))["cases"]
            return {case["id"]: Checked.from_json(case) for case in cases}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def read_record(self, case: str) -> dict[str, Any]:
        """The record of a case; empty where there is none that can be read."""
        try:
            return json.loads(self.record(case).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def write_record(self, case: str, record: dict[str, Any]) -> None:
        """Replace the record of a case."""
        write_json(self.record(case), record)

    def is_done(self, case: str, key: str) -> bool:
        """Whether the volumes of a case are complete and were made from ``key``."""
        record = self.read_record(case)
        return record.get("status") == "done" and record["key"] == key and self._whole(record["files"])

    def has_latents(self, case: str, autoencoder: str) -> bool:
        """Whether the latents of a case are complete and were made by this network."""
        latents = self.read_record(case).get("latents", {})
        return latents.get("autoencoder") == autoencoder and self._whole(latents["files"])

    def count_done(self, plan: Plan) -> int:
        """Cases with a record; of a running preparation, so that files are not looked at."""
        return sum(self.record(case.id).is_file() for case in plan.cases)

    def items(self, case: str) -> list[Item]:
        """The items of a complete case."""
        values = self.read_record(case).get("items", [])
        lists = ("shape", "spacing", "ids", "region")
        return [
            Item(**{k: tuple(v) if k in lists and v is not None else v for k, v in item.items()}) for item in values
        ]

    def write(self, name: str, save: Callable[[Path], None]) -> dict[str, int]:
        """Write the file ``name`` of the folder, whole or not at all; returns its name with its size."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            save(part)
        return {name: path.stat().st_size}

    def _whole(self, files: dict[str, int]) -> bool:
        try:
            return all((self.path / name).stat().st_size == size for name, size in files.items())
        except OSError:
            return False


def prepare_folders(folder: PreparedFolder, names: Iterable[str] = ("cases", "images", "labels")) -> None:
    """Make the folder itself and those in it. Raises InputError where that cannot be done."""
    try:
        for name in ("", *names):
            (folder.path / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder.path} cannot be made ({error.strerror}); choose another.") from error
