"""The folder of a training: all that is known about it, whoever started it. Standard library only.

run.json        what it is: configuration, command, versions, processes; written when the folder is made
launcher.json   who started it last: {"kind": "local" | "slurm" | "here", "host", "pid" or "job", "time"}
status.json     how it is: state, step, sentence; rewritten every few seconds while it runs, so also its heartbeat
metrics.jsonl   figures, one row a line: {"step", "epoch", "time", "split": "train" | "validation", ...}; a row
                {"split": "resume", "step"} says that rows after that step, which stand before it, are void
failure.json    the error that ended a process, if one did, and whether the user has to put something right ("final")
log.txt         what was said
checkpoints/    to go on from      weights/  the trained networks      previews/  volumes to look at
tensorboard/    the same figures for TensorBoard
stop            exists when the training shall stop
"""

from __future__ import annotations

import contextlib
import json
import math
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
LAST_BEATS = 15.0  # the same where torchrun is gone: its processes may be writing their last checkpoint


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
        self.failure_file = self.path / "failure.json"
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
        self.forget_end()
        write_json(self.launcher_file, {"kind": kind, "host": socket.gethostname(), "time": time.time(), **facts})

    def forget_end(self, stop: bool = True) -> None:
        """Remove what ended an earlier sitting: an error and, if ``stop``, the stop file."""
        self.failure_file.unlink(missing_ok=True)
        if stop:
            self.stop_file.unlink(missing_ok=True)

    def failure(self) -> dict[str, Any]:
        """The error that ended a process: {"sentence", "final", "time"}; empty if none did."""
        return read_json(self.failure_file)

    def write_failure(self, sentence: str, final: bool) -> None:
        """Keep the first error, which made the others."""
        with contextlib.suppress(OSError):
            if not self.failure_file.exists():
                write_json(self.failure_file, {"sentence": sentence, "final": final, "time": time.time()})

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
        failure, silent = self.failure(), math.inf if waits else time.time() - said.time
        is_over = failure.get("final") or (_is_gone(launcher) and silent > LAST_BEATS)
        is_over = is_over or (not waits and silent > SILENCE)
        if is_over and failure:
            return replace(said, state="failed", sentence=failure.get("sentence", ""))
        if is_over:
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
