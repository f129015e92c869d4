"""The module's logic: data sets, trainings and models, each step a command of the chosen Python."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer

from maisi.models.variants import variants
from MAISILib.Interpreter import Interpreter
from MAISILib.MaisiCommand import MaisiCommand
from MAISILib.Settings import Settings
from MAISISynthLib.SingletonNodes import parameterNode
from MAISITrainLib.DatasetCheck import DatasetReport, readReport
from MAISITrainLib.Launching import argumentsBefore, launchArguments
from MAISITrainLib.RunWatcher import RunWatcher
from MAISITrainLib.SlurmOptions import SlurmOptions

Config = str | Path | Mapping[str, Any]


class MAISITrainLogic:
    """Trainings, from data to a model.

    Example::

        logic = MAISITrainLogic()
        for row in logic.check("data.json", "prepared").rows: print(row)      # what is wrong with the data set
        logic.prepare("data.json", "prepared", model="rflow-ct", nproc=4)
        changes = {"data.prepared": "prepared", "run.epochs": 20}
        run = logic.start("controlnet", "runs/one", changes=changes, processes=2)
        run.look().status                                                       # step, time left, state
        logic.stop("runs/one"); logic.resume("runs/one")
        run = logic.attach("/share/runs/two")                                   # started by hand or by SLURM
        logic.export(["runs/one"], "mine")                                      # now MAISI Synth offers it

    Trainings are processes of their own: they go on when the application ends. Methods that end in "Command" return
    at once with a running command; the others wait for it.
    """

    def __init__(self, interpreter: Interpreter | None = None) -> None:
        application = getattr(slicer, "app", None)
        self._interpreter = interpreter or Interpreter(Settings(application.userSettings() if application else None))

    # ---- data

    def check(self, dataset: str | Path | Sequence[str | Path], prepared: str | Path, **options: Any) -> DatasetReport:
        """Look at all files of a data set and tell what is wrong, before any work; see ``prepareCommand``.

        Raises:
            InputError: there is no readable report. JobError: the data set or an option cannot be used at all.
        """
        self.prepareCommand(dataset, prepared, check=True, **options).wait()
        return readReport(prepared)

    def prepare(self, dataset: str | Path | Sequence[str | Path], prepared: str | Path, **options: Any) -> None:
        """Bring a data set into the form that trainings read, and wait for it. Raises JobError: it failed."""
        self.prepareCommand(dataset, prepared, **options).wait()

    def prepareCommand(
        self,
        dataset: str | Path | Sequence[str | Path],
        prepared: str | Path,
        more: Sequence[str] = (),
        **options: Any,
    ) -> MaisiCommand:
        """``maisi prepare``: a data list, nnU-Net folder or folder of images and labels, or several of them.

        Args:
            prepared: the folder to make, or to go on with.
            more: words of the command line.
            options: those of the command, such as check=True, model="rflow-ct", min_slices=40, nproc=4,
                new_label=["renal angiomyolipoma=133:kidney"], spacing=(1, 1, 1): a list repeats the option, a tuple
                is several values of it.
        """
        sources = [dataset] if isinstance(dataset, (str, Path)) else dataset
        return self._run("prepare", *map(str, sources), f"--output={prepared}", *_flags(options), *more)

    # ---- trainings

    def start(self, config: Config, runFolder: str | Path, **options: Any) -> RunWatcher:
        """Start a training, wait until its processes (or its job) are on their way, and watch it.

        Args and raises: as ``startCommand``; JobError: the configuration or the folder cannot be used.
        """
        self.startCommand(config, runFolder, **options).wait()
        return self.attach(runFolder)

    def startCommand(
        self,
        config: Config,
        runFolder: str | Path,
        changes: Mapping[str, Any] | None = None,
        processes: int = 1,
        launcher: str = "local",
        slurm: SlurmOptions | None = None,
    ) -> MaisiCommand:
        """``maisi train``; the command ends when the training has been started.

        Args:
            config: name of a preset, a YAML or JSON file, or the values themselves (which may have "preset").
            runFolder: to make; everything goes there. With SLURM all machines must see it.
            changes: of single keys, such as {"run.steps": 100}.
            processes: on each machine, one a GPU. launcher: "local" or "slurm". slurm: what the job asks for.

        Raises:
            InputError: the launcher is not known, or ``slurm`` cannot be used.
        """
        how, temporary = launchArguments(processes, launcher, slurm), None
        if isinstance(config, Mapping):
            temporary = tempfile.TemporaryDirectory(prefix="maisi-", ignore_cleanup_errors=True)
            file = Path(temporary.name) / "configuration.json"
            file.write_text(json.dumps(config), encoding="utf-8")
            config = file
        arguments = [str(config), f"--run={runFolder}", *_sets(changes or {}), *how]
        return self._run("train", *arguments, temporary=temporary)

    def stop(self, runFolder: str | Path, now: bool = False) -> str:
        """Ask a training to write a checkpoint and stop, or end it ``now``, even if it does not answer.

        Returns:
            A sentence that tells what happens.

        Raises:
            JobError: it has ended, the folder cannot be written, or another computer would have to end it.
        """
        return "\n".join(self.stopCommand(runFolder, now).wait())

    def stopCommand(self, runFolder: str | Path, now: bool = False) -> MaisiCommand:
        """``maisi stop``."""
        return self._run("stop", str(runFolder), *(["--now"] if now else []))

    def resume(self, runFolder: str | Path, **options: Any) -> RunWatcher:
        """Go on with a training from its last checkpoint. Options and raises: as ``resumeCommand``, ``start``."""
        self.resumeCommand(runFolder, **options).wait()
        return self.attach(runFolder)

    def resumeCommand(
        self,
        runFolder: str | Path,
        changes: Mapping[str, Any] | None = None,
        processes: int | None = None,
        launcher: str = "local",
        slurm: SlurmOptions | None = None,
    ) -> MaisiCommand:
        """``maisi train --resume``; as ``startCommand``, but without ``processes`` it is launched as it was before."""
        how = argumentsBefore(runFolder) if processes is None else launchArguments(processes, launcher, slurm)
        return self._run("train", f"--run={runFolder}", "--resume", *_sets(changes or {}), *how)

    def attach(self, runFolder: str | Path) -> RunWatcher:
        """Watch a training, whoever started it. Raises InputError: there is none in the folder."""
        watcher = RunWatcher(runFolder)
        watcher.look()
        return watcher

    # ---- forms and models

    def showCommand(self, config: str, changes: Mapping[str, Any]) -> MaisiCommand:
        """``maisi train show``: the whole configuration as JSON, or the sentences that tell what is wrong with it."""
        return self._run("train", "show", config, *_sets(changes))

    def schemaCommand(self, stage: str) -> MaisiCommand:
        """``maisi train schema``: JSON schema of the configuration of a stage."""
        return self._run("train", "schema", stage)

    def export(self, runFolders: Sequence[str | Path], name: str, replace: bool = False) -> None:
        """Make a model of what trainings have made, and choose it in MAISI Synth for the present scene.

        Args and raises: as ``exportCommand``, ``JobError`` where it fails.
        """
        self.exportCommand(runFolders, name, replace).wait()
        self.useInSynthesis(name)

    def exportCommand(self, runFolders: Sequence[str | Path], name: str, replace: bool = False) -> MaisiCommand:
        """``maisi train export``.

        Args:
            runFolders: of the networks that are not to be those of the model they began with; for the same network
                the later one counts. replace: overwrite an own model of that name.
        """
        more = ["--replace"] if replace else []
        return self._run("train", "export", *map(str, runFolders), f"--name={name}", *more)

    def useInSynthesis(self, name: str) -> None:
        """Choose a model in MAISI Synth, for the present scene. Raises InputError: a model card cannot be read."""
        variants()  # lesion classes of the new model are known from here on
        parameterNode(slicer.mrmlScene).SetParameter("model", name)

    def _run(self, *arguments: str, temporary: tempfile.TemporaryDirectory | None = None) -> MaisiCommand:
        words = ("-m", "maisi", *arguments)
        return MaisiCommand(self._interpreter, self._interpreter.command, *words, temporary=temporary)


def _flags(options: Mapping[str, Any]) -> list[str]:
    """Options of a command line: True is a flag, a list repeats the option, a tuple is several values of one."""
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            words += [flag, *map(str, value)]
        elif isinstance(value, bool):
            words += [flag] if value else []
        else:
            words += [f"{flag}={one}" for one in (value if isinstance(value, list) else [value])]
    return words


def _sets(changes: Mapping[str, Any]) -> list[str]:
    """Values are YAML, of which JSON is a part."""
    return [
        f"--set={key}={json.dumps(str(value) if isinstance(value, Path) else value)}" for key, value in changes.items()
    ]
