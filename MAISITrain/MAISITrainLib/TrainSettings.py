"""What belongs to this machine and not to the scene: folders of trainings, where data are, how a cluster is asked."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from MAISILib.Settings import MemoryStore, Store
from MAISITrainLib.SlurmOptions import SlurmOptions

RUNS_KEPT = 20


class TrainSettings:
    """The settings by name. In the application: ``TrainSettings(slicer.app.userSettings())``."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = MemoryStore() if store is None else store

    @property
    def runs(self) -> tuple[str, ...]:
        """Folders of trainings to watch, the newest first."""
        found = self._read("Runs", [])
        return tuple(path for path in found if isinstance(path, str)) if isinstance(found, list) else ()

    def addRun(self, path: str | Path) -> str:
        """Remember the folder of a training, and return how it is called here; the oldest ones are forgotten."""
        added = str(Path(path).expanduser().absolute())
        others = [known for known in self.runs if known != added]
        self._write("Runs", [added, *others][:RUNS_KEPT])
        return added

    def forgetRun(self, path: str) -> None:
        """Do not watch this folder any more; nothing in it changes."""
        self._write("Runs", [known for known in self.runs if known != path])

    @property
    def slurm(self) -> SlurmOptions:
        """What jobs ask for."""
        told = self._read("Slurm", {})
        known = {key: told[key] for key in SlurmOptions.__dataclass_fields__ if key in told}
        return SlurmOptions(**known)

    @slurm.setter
    def slurm(self, options: SlurmOptions) -> None:
        self._write("Slurm", asdict(options))

    def text(self, name: str) -> str:
        """What was typed last in a field, such as "Dataset", "Prepared", "Preset", "Launcher"."""
        return str(self._store.value(f"MAISITrain/{name}", ""))

    def setText(self, name: str, text: str) -> None:
        """Remember what was typed in a field."""
        self._store.setValue(f"MAISITrain/{name}", text)

    def _read(self, name: str, default: Any) -> Any:
        try:
            return json.loads(self.text(name) or "null") or default
        except ValueError:
            return default

    def _write(self, name: str, value: Any) -> None:
        self.setText(name, json.dumps(value))
