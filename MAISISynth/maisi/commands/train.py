"""``maisi train``: start a training, or go on with one."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from maisi.commands.parsing import add_command
from maisi.errors import InputError, MaisiError
from maisi.train.run_folder import RunFolder

_USAGE = """maisi train CONFIG --run DIR [options]    CONFIG: a file or a preset
       maisi train --run DIR --resume            go on with a training
       maisi train export RUN... --name NAME     make a model of what runs have trained
       maisi train presets                       list the presets
       maisi train show CONFIG [--set A.B=VALUE] print a whole configuration as JSON, checked
       maisi train schema STAGE                  print the JSON schema of a stage's configuration"""

_LAUNCHERS = {
    "local": "in the background, on this machine (default)",
    "slurm": "as a job",
    "here": "in this process",
    "none": "make the folder and print the command that trains",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``train``."""
    text = "Train a network: autoencoder, diffusion, controlnet or mask generator."
    train = add_command(commands, "train", _train, text)
    train.usage = _USAGE
    train.add_argument("what", metavar="CONFIG", nargs="*", help="configuration file or preset")
    _add_start(train)
    export = train.add_argument_group("export")
    export.add_argument("--name", default="", help="of the model, for --model of other commands")
    export.add_argument("--title", default="", help="of the model, for people")
    export.add_argument(
        "--license", default="", metavar="NAME", help="of its weights (default: of the model they began with)"
    )
    export.add_argument("--replace", action="store_true", help="overwrite an own model of that name")


def _add_start(train: argparse.ArgumentParser) -> None:
    train.add_argument("--run", type=Path, metavar="DIR", help="folder of this training; everything goes there")
    train.add_argument(
        "--set", action="append", default=[], metavar="A.B=VALUE", dest="changes", help="change a key (repeatable)"
    )
    train.add_argument("--resume", action="store_true", help="go on with the training in DIR")
    train.add_argument("--nproc", type=int, default=1, metavar="N", help="processes a machine, one a GPU (default 1)")
    train.add_argument("--nnodes", type=int, default=1, metavar="N", help="machines (default 1)")
    train.add_argument("--rendezvous", default="", metavar="HOST:PORT", help="where several machines meet")
    told = "; ".join(f"{name}: {what}" for name, what in _LAUNCHERS.items())
    train.add_argument("--launcher", choices=_LAUNCHERS, default="local", help=told)
    train.add_argument(
        "--sbatch", action="append", default=[], metavar="OPTION", help="for SLURM, such as --sbatch=--partition=gpu"
    )


def _train(given: argparse.Namespace) -> None:
    words = given.what
    if words == ["presets"]:
        _print_presets()
    elif words[:1] == ["export"]:
        _export(given)
    elif words[:1] == ["schema"] and len(words) == 2:
        from maisi.train.config import json_schema

        print(json.dumps(json_schema(words[1]), indent=1))
    elif words[:1] == ["show"] and len(words) == 2:
        from maisi.train.config import load_config

        print(json.dumps(load_config(words[1], given.changes).model_dump(mode="json"), indent=1))
    elif given.run is None or len(words) > 1 or bool(words) == given.resume:
        raise InputError("Give a configuration and --run DIR, or --run DIR --resume (see: maisi train --help).")
    else:
        _start(given)


def _export(given: argparse.Namespace) -> None:
    from maisi.train.model_export import export_model

    runs = [Path(word) for word in given.what[1:]]
    if not runs or not given.name:
        raise InputError("Give at least one run, and --name NAME for the model (see: maisi train --help).")
    card = export_model(runs, given.name, given.title, given.license, given.replace)
    print(f"The model {given.name} is ready: {card}")


def _print_presets() -> None:
    from maisi.train.presets import titles

    for name, title in titles().items():
        print(f"{name:32}{title}")


def _start(given: argparse.Namespace) -> None:
    from maisi.train.launch import ENVIRONMENT, Processes, joins, launch, torchrun

    run, processes = RunFolder(given.run), Processes(given.nproc, given.nnodes, given.rendezvous)
    if given.launcher == "here" and processes != Processes():
        raise InputError("--launcher here is this process alone; leave out --nproc, --nnodes and --rendezvous.")
    if not joins(run, processes):
        _prepare(given, run)
    if given.launcher == "here":
        _train_here(run)
    elif given.launcher == "none":
        settings = (f"{name}={value}" for name, value in ENVIRONMENT.items())
        print(shlex.join(["env", *settings, *torchrun(run, processes)]))
    elif given.launcher == "slurm":
        from maisi.train.slurm import submit, write_job

        print(f"Job {submit(run, write_job(run, processes, given.sbatch))} of SLURM trains in {run.path}.")
    else:
        print(f"Process {launch(run, processes)} trains in {run.path}; see: maisi runs {run.path}")


def _prepare(given: argparse.Namespace, run: RunFolder) -> None:
    """Make the run folder, or bring an existing one up to date."""
    from maisi import __version__
    from maisi.train.config import load_config, override
    from maisi.train.slurm import live_status

    if given.resume:
        if not run.exists:
            raise InputError(f"There is no training in {run.path} to go on with.")
        status = live_status(run)
        if run.launcher() and not status.has_ended:
            raise InputError(f"The training in {run.path} is {status.state}; stop it first: maisi stop {run.path}")
        facts = run.facts()
        config = override(facts.get("config", {}), given.changes, str(run.run_file))
        run.write_facts({**facts, "config": config.model_dump(mode="json")})
        return
    config = load_config(given.what[0], given.changes)
    versions = {"maisi": __version__, "python": platform.python_version(), "torch": version("torch")}
    run.create({"config": config.model_dump(mode="json"), "command": sys.argv, "versions": versions})


def _train_here(run: RunFolder) -> None:
    from maisi.train.launch import LAUNCHED
    from maisi.train.rank import main

    run.write_launcher("here", pid=os.getpid())
    os.environ[LAUNCHED] = "1"
    if main(run):
        raise MaisiError(run.status().sentence)
