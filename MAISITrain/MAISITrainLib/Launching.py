"""How processes of a training are started, as options of ``maisi train``."""

from __future__ import annotations

import itertools
from pathlib import Path

from maisi.errors import InputError
from maisi.train.run_folder import RunFolder
from MAISILib.Translate import _
from MAISITrainLib.SlurmOptions import SlurmOptions

LAUNCHERS = ("local", "slurm")
_OPTIONS = ("--nproc", "--nnodes", "--rendezvous", "--launcher", "--sbatch")


def launchArguments(processes: int, launcher: str, slurm: SlurmOptions | None) -> list[str]:
    """For so many processes on each machine.

    Raises:
        InputError: the launcher is not known, or ``slurm`` cannot be used.
    """
    if launcher not in LAUNCHERS:
        text = _("There is no launcher '{name}': choose one of {names}.")
        raise InputError(text.format(name=launcher, names=", ".join(LAUNCHERS)))
    arguments = [f"--nproc={processes}", f"--launcher={launcher}"]
    if launcher == "slurm":
        options = slurm or SlurmOptions()
        valid, sentence = options.isValid()
        if not valid:
            raise InputError(sentence)
        arguments += options.arguments()
    return arguments


def argumentsBefore(runFolder: str | Path) -> list[str]:
    """Those with which a training was started; none where its folder does not tell, as after torchrun by hand."""
    words = RunFolder(runFolder).facts().get("command", [])
    found = []
    for word, following in itertools.zip_longest(map(str, words), map(str, words[1:]), fillvalue=""):
        if word in _OPTIONS:
            found.append(f"{word}={following}")
        elif word.partition("=")[0] in _OPTIONS:
            found.append(word)
    return found
