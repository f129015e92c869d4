"""A SLURM of one node, this machine, with everything in a temporary folder. It runs as whoever runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from helpers.processes import waitUntil

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
_WHERE = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=10
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NoSlurm(Exception):
    """The sentence that a skipped test shows."""


@contextlib.contextmanager
def slurm_cluster() -> Iterator[Path]:
    """The cluster, while the block runs; yields its slurm.conf, for the environment variable SLURM_CONF.

    Raises:
        NoSlurm: it is not installed, or does not start here.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_WHERE) is None]
    if missing:
        raise NoSlurm(f"SLURM is not installed ({missing[0]} is missing): apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="slurm") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)  # a short path: names of sockets have at most 107 letters
        for part in ("state", "spool"):
            (folder / part).mkdir()
        config = _write_config(folder)
        environment = {**os.environ, "SLURM_CONF": str(config)}
        _start_munge(folder, daemons)
        for daemon in ("slurmctld", "slurmd"):
            _start(daemons, folder / f"{daemon}.log", [_which(daemon), "-D", "-f", str(config)], environment)
        _wait_until_idle(folder, environment)
        try:
            yield config
        finally:  # before the node goes: it ends their processes
            subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=False)
            waitUntil(lambda: not _ask(["squeue", "--noheader"], environment), 30)


def _write_config(folder: Path) -> Path:
    values = {
        "host": socket.gethostname().partition(".")[0],
        "user": getpass.getuser(),
        "cpus": os.cpu_count(),
        "folder": folder,
        "controller_port": _free_port(),
        "node_port": _free_port(),
    }
    path = folder / "slurm.conf"
    path.write_text(_CONFIG.format(**values))
    return path


def _start_munge(folder: Path, daemons: contextlib.ExitStack) -> None:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid"}
    files |= {"log-file": folder / "munge.log", "seed-file": folder / "munge.seed"}
    options = [f"--{name}={path}" for name, path in files.items()]
    _start(daemons, folder / "munged.log", [_which("munged"), "--foreground", "--force", *options], dict(os.environ))
    _wait(files["socket"].exists, folder)


def _start(daemons: contextlib.ExitStack, log: Path, command: list[str], environment: dict[str, str]) -> None:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)

    def end() -> None:
        process.terminate()
        process.wait(20)

    daemons.callback(end)


def _wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    _wait(lambda: _ask(["sinfo", "--noheader", "--format=%t"], environment) == "idle", folder)


def _wait(condition, folder: Path) -> None:
    try:
        waitUntil(condition, 30)
    except AssertionError:
        said = "; ".join(log.read_text(errors="replace")[-300:] for log in sorted(folder.glob("*.log")))
        raise NoSlurm(f"SLURM does not start here: {' '.join(said.split())}") from None


def _ask(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def _which(name: str) -> str:
    return shutil.which(name, path=_WHERE)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
