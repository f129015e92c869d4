"""Starting a training as torchrun, which stays when whoever started it ends. Standard library only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from maisi.errors import InputError
from maisi.processes import own_group
from maisi.torchrun import environment
from maisi.train.run_folder import RunFolder

PROGRAM = ("-m", "maisi.train.rank")
RESTARTS = 3  # after a process was killed
LAUNCHED = "MAISI_TRAIN_LAUNCHED"  # set where the stop file of an earlier sitting is removed already
ENVIRONMENT = {
    "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "120",  # seconds for the last checkpoint, after SIGTERM
    # A store that is shared by all starts still has the addresses of killed processes, and the new ones may read them.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


@dataclass(frozen=True)
class Processes:
    """How many processes, and where.

    Attributes:
        per_node: processes on each machine, one a GPU. nodes: machines.
        rendezvous: HOST:PORT on the first machine, where several of them meet; "" for one machine.
    """

    per_node: int = 1
    nodes: int = 1
    rendezvous: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.per_node <= 64 or not 1 <= self.nodes <= 4096:
            raise InputError(
                f"{self.per_node} processes on {self.nodes} machines cannot be started; give 1 to 64 processes "
                "(--nproc) and 1 to 4096 machines (--nnodes)."
            )


def torchrun(run: RunFolder, processes: Processes, program: Sequence[str] = PROGRAM) -> list[str]:
    """The command that runs the training on this machine, together with the same command on the others."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={processes.nodes}"),
        *(f"--nproc-per-node={processes.per_node}", f"--max-restarts={RESTARTS}", f"--rdzv-id={run.name}"),
        *("--rdzv-backend=c10d", f"--rdzv-endpoint={processes.rendezvous or 'localhost:0'}"),
        *(*program, str(run.path.resolve())),
    ]


def launch(run: RunFolder, processes: Processes, program: Sequence[str] = PROGRAM) -> int:
    """Start the training in ``run`` and leave it alone; returns the process id of torchrun.

    On several machines the same is done on each, with one run folder that all see.

    Raises:
        InputError: the training could not be started, or several machines have no place to meet.
    """
    if processes.nodes > 1 and not processes.rendezvous:
        raise InputError("Several machines need a place to meet; give --rendezvous HOST:PORT of the first one.")
    try:
        with run.log.open("ab") as log:
            started = subprocess.Popen(
                torchrun(run, processes, program),
                env={**environment(processes.per_node), **ENVIRONMENT, LAUNCHED: "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **own_group(),
            )
        if not joins(run, processes):
            run.write_launcher("local", pid=started.pid, rendezvous=processes.rendezvous)
    except OSError as error:
        raise InputError(f"The training in {run.path} could not be started: {error}.") from error
    return started.pid


def joins(run: RunFolder, processes: Processes) -> bool:
    """Whether another machine has started the training in ``run`` and waits for this one."""
    return (
        bool(processes.rendezvous)
        and run.launcher().get("rendezvous") == processes.rendezvous
        and not (run.status().has_ended)
    )
