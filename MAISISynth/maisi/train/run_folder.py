"""The folder of a training: all that is known about it, whoever started it. Standard library only.

run.json        what it is: configuration, command, versions, processes; written when the folder is made
launcher.json   who started it last: {"kind": "local" | "slurm" | "here", "host", "pid" or "job", "time"}
status.json     how it is: state, step, sentence; rewritten every few seconds while it runs, so also its heartbeat
metrics.jsonl   figures, one row a line: {"step", "epoch", "time", "split": "train" | "validation", ...}; a row
                {"split": "resume", "step"} says that rows after that step, which stand before it, are void
log.txt         what was said
checkpoints/    to go on from      weights/  the trained networks      previews/  volumes to look at
tensorboard/    the same figures for TensorBoard
stop            exists when the training shall stop
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from maisi.errors import InputError

STATES = ("starting", "running", "stopping", "stopped", "finished", "failed", "lost")
ENDED = ("stopped", "finished", "failed", "lost")
SILENCE = 90.0  # seconds without a heartbeat after which a run counts as lost


@dataclass(frozen=True)
class Status:
    """How a training is.

    Attributes:
        state: one of STATES. "stopped" can go on, "lost" ended without a word (it can go on, too).
        step, steps: optimizer steps done, and in all (0: not known yet). epoch: passes over the data done.
        seconds_left: until the end at the present speed; None: not known.
        sentence: what there is to say, such as why it failed.
        skipped_steps: steps without a finite gradient. unreadable: items of the data that could not be read.
        best: lowest validation score so far. best_step: its step.
        time: of the last heartbeat, seconds since 1970.
    """

    state: str
    step: int = 0
    steps: int = 0
    epoch: float = 0.0
    seconds_left: float | None = None
    sentence: str = ""
    skipped_steps: int = 0
    unreadable: int = 0
    best: float | None = None
    best_step: int = 0
    time: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come unless it is started again."""
        return self.state in ENDED


class RunFolder:
    """Names and records in the folder of a training. Reading never fails: what cannot be read is absent."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.run_file, self.launcher_file = self.path / "run.json", self.path / "launcher.json"
        self.status_file, self.stop_file = self.path / "status.json", self.path / "stop"
        self.metrics, self.log = self.path / "metrics.jsonl", self.path / "log.txt"
        self.checkpoints, self.weights = self.path / "checkpoints", self.path / "weights"
        self.previews, self.tensorboard = self.path / "previews", self.path / "tensorboard"

    @property
    def name(self) -> str:
        """Of the run: its folder's name."""
        return self.path.resolve().name

    @property
    def exists(self) -> bool:
        """Whether there is a training in this folder."""
        return self.run_file.is_file()

    def create(self, facts: Mapping[str, Any]) -> None:
        """Make the folder with ``facts`` as run.json.

        Raises:
            InputError: there is a training already, or the folder cannot be written.
        """
        if self.exists:
            raise InputError(f"There is a training in {self.path} already; go on with it (--resume) or take another.")
        try:
            for folder in (self.checkpoints, self.previews):
                folder.mkdir(parents=True, exist_ok=True)
            self.write_facts({**facts, "created": time.time()})
        except OSError as error:
            raise InputError(f"The folder {self.path} cannot be written ({error.strerror}); choose another.") from error

    def facts(self) -> dict[str, Any]:
        """run.json; empty if it cannot be read."""
        return read_json(self.run_file)

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Replace run.json. Raises OSError."""
        write_json(self.run_file, facts)

    def launcher(self) -> dict[str, Any]:
        """Who started it last; empty if nobody is known, as after torchrun by hand."""
        return read_json(self.launcher_file)

    def write_launcher(self, kind: str, **facts: Any) -> None:
        """Say who starts it now. What the previous sitting left behind (stop file, status) no longer counts."""
        self.stop_file.unlink(missing_ok=True)
        write_json(self.launcher_file, {"kind": kind, "host": socket.gethostname(), "time": time.time(), **facts})

    def write_status(self, status: Status) -> None:
        """Replace status.json. Raises OSError."""
        write_json(self.status_file, asdict(status))

    def last_status(self) -> Status | None:
        """What the training itself said last; it may be long ago."""
        known = read_json(self.status_file)
        try:
            return Status(**{key: known[key] for key in Status.__dataclass_fields__ if key in known})
        except TypeError:
            return None

    def status(self) -> Status:
        """How the training is now, judged from heartbeat, launcher and stop file."""
        launcher, said = self.launcher(), self.last_status()
        launched = launcher.get("time", 0.0)
        waits = said is None or said.time < launched  # it has said nothing since it was started
        if said is None:
            said = Status("starting", time=launched)
        elif waits:
            said = Status("starting", step=said.step, steps=said.steps, time=launched)
        if said.has_ended:
            return said
        if _is_gone(launcher) or (not waits and time.time() - said.time > SILENCE):
            return replace(said, state="lost", sentence="It ended without a word; its log tells more. It can go on.")
        return replace(said, state="stopping") if self.stop_file.exists() else said

    def request_stop(self) -> None:
        """Ask the training to write a checkpoint and stop. Raises OSError."""
        self.stop_file.touch()

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint."""
        return max(self.checkpoints.glob("step_*.pt"), default=None)

    def previews_of(self) -> list[Path]:
        """Previews, the oldest first: ``step_00000100_NAME.nii.gz``."""
        return sorted(self.previews.glob("step_*.nii.gz"))

    def log_tail(self, size: int = 20_000) -> str:
        """The last ``size`` bytes of the log, from the beginning of a line."""
        try:
            with self.log.open("rb") as file:
                begin = max(file.seek(0, os.SEEK_END) - size, 0)
                file.seek(begin)
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return text.partition("\n")[2] if begin else text


class Metrics:
    """The rows of a metrics.jsonl that may still grow. :attr:`rows` are those that count, in their order."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        self._read_to, self._identity = 0, None

    def poll(self) -> bool:
        """Read what is new; whether :attr:`rows` changed. Broken lines are left out, half ones wait for their end."""
        try:
            with self.path.open("rb") as file:
                self._begin_again_if_replaced(os.fstat(file.fileno()))
                file.seek(self._read_to)
                lines = file.read()
        except OSError:
            return False
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read_to += len(whole)
        before = len(self.rows), self.rows[-1:]
        for line in whole.splitlines():
            self._take(line)
        return (len(self.rows), self.rows[-1:]) != before

    def series(self, name: str, split: str = "train") -> tuple[list[float], list[float]]:
        """Steps and values of one figure."""
        found = [(row["step"], row[name]) for row in self.rows if row["split"] == split and _is_number(row.get(name))]
        return [step for step, _ in found], [value for _, value in found]

    def names(self, split: str = "train") -> list[str]:
        """Figures that there are, in the order of their first appearance."""
        rows = (row for row in self.rows if row["split"] == split)
        found = {key: None for row in rows for key, value in row.items() if _is_number(value)}
        return [key for key in found if key not in ("step", "epoch", "time")]

    def last(self, split: str = "train") -> dict[str, Any]:
        """The newest row of ``split``; empty if there is none."""
        return next((row for row in reversed(self.rows) if row["split"] == split), {})

    def _begin_again_if_replaced(self, found: os.stat_result) -> None:
        identity = found.st_dev, found.st_ino
        if identity != self._identity or found.st_size < self._read_to:
            self.rows.clear()
            self._read_to, self._identity = 0, identity

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            step, split = row["step"], row["split"]
        except (ValueError, TypeError, KeyError):
            return
        if not _is_number(step) or not isinstance(split, str):
            return
        if split == "resume":
            self.rows = [earlier for earlier in self.rows if earlier["step"] <= step]
        else:
            self.rows.append(row)


def find_runs(folder: Path, depth: int = 3) -> list[RunFolder]:
    """Trainings in ``folder`` and its subfolders, the newest first."""
    found = {path.parent for level in range(depth + 1) for path in folder.glob("*/" * level + "run.json")}
    runs = [RunFolder(path) for path in found]
    return sorted((run for run in runs if "config" in run.facts()), key=lambda run: -run.facts().get("created", 0))


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; empty if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``content`` at once. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line to ``path``. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _is_gone(launcher: Mapping[str, Any]) -> bool:
    """Whether the process that started a training on this machine has ended. Elsewhere only silence tells."""
    pid = launcher.get("pid")
    if os.name == "nt" or not isinstance(pid, int) or launcher.get("host") != socket.gethostname():
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # our own child would stay as a zombie
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
