"""``python -m maisi.train.rank RUN``: what each process of a training runs, alone or started by torchrun."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from maisi.errors import MaisiError
from maisi.train.config import TrainConfig, make_config
from maisi.train.launch import LAUNCHED
from maisi.train.ranks import join_ranks
from maisi.train.run_folder import RunFolder
from maisi.train.seeding import seed_everything
from maisi.train.stage import Stage
from maisi.train.trainer import train

_log = logging.getLogger(__name__)
MakeStage = Callable[[TrainConfig, torch.device], Stage]


def run_rank(run: RunFolder, make_stage: MakeStage) -> int:
    """This process's share of the training in ``run``; returns the exit code.

    What ends it is told in the log and kept in the run folder. torchrun may start all processes again: that repairs a
    killed process, but not what the user has to put right, so then it is not even tried.
    """
    is_restart = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if is_restart and run.failure().get("final"):
        return 2
    if os.environ.get("RANK", "0") == "0":
        run.forget_end(
            stop=not is_restart and LAUNCHED not in os.environ
        )  # who launched it may want it to stop already
    _start_log(run)
    try:
        config = make_config(run.facts().get("config", {}), str(run.run_file))
        with join_ranks(config.run.device) as ranks:
            if ranks.is_first:
                said = "Starts again" if is_restart else "Starts"
                _log.info("%s with %d processes on %s.", said, ranks.world, ranks.device.type)
            seed_everything(config.run.seed, "first weights")  # the same on every process
            state = train(make_stage(config, ranks.device), config, run, ranks)
            if ranks.is_first:
                _log.info("The training is %s.", state)
    except MaisiError as error:
        _log.error("%s", error)
        run.write_failure(str(error), final=True)
        return 2
    except BaseException as error:
        _log.error("%s", traceback.format_exc())
        run.write_failure(f"{type(error).__name__}: {error}", final=False)
        return 1
    return 0


def _start_log(run: RunFolder) -> None:
    """Everything said goes to the run's log, and to the terminal if there is one."""
    logging.raiseExceptions = False  # a full disk
    handlers: list[logging.Handler] = [logging.FileHandler(run.log)]
    if sys.stderr.isatty():
        handlers.append(logging.StreamHandler())
    rank = os.environ.get("RANK", "0")
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s [{rank}] %(message)s", datefmt="%Y-%m-%d %H:%M:%S", handlers=handlers
    )


def main(run: RunFolder) -> int:
    """This process's share of the training in ``run``; returns the exit code."""
    from maisi.train.stages import make_stage

    return run_rank(run, make_stage)


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1]))))
