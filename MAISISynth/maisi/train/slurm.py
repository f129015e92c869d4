"""Trainings as jobs of SLURM: the script, its submission, and what the queue says. Standard library only."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maisi.errors import InputError
from maisi.torchrun import environment
from maisi.train.launch import ENVIRONMENT, LAUNCHED, PROGRAM, Processes, torchrun
from maisi.train.run_folder import RunFolder, Status

# SIGTERM comes some minutes before the time limit; the training stops with a checkpoint, and the job queues again.
_SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --signal=TERM@180
#SBATCH --requeue
{options}
{exports}
if [ -n "$SLURM_CPUS_PER_TASK" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=0 {command}
code=$?
if [ ! -e {stop} ] && grep -q '"state": "stopped"' {status}; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""


def write_job(
    run: RunFolder, processes: Processes, options: Sequence[str] = (), program: Sequence[str] = PROGRAM
) -> Path:
    """Write the script ``job.sbatch`` of a training into its folder.

    Args:
        options: more of sbatch's, such as "--partition=gpu" or "--gpus-per-node=8".

    Raises:
        InputError: an option does not begin with "--", or the folder cannot be written.
    """
    wrong = [option for option in options if not option.startswith("--")]
    if wrong:
        raise InputError(f"{wrong[0]!r} is no option of sbatch; write it as in --sbatch=--partition=gpu.")
    place = "$first:$((20000 + SLURM_JOB_ID % 20000))" if processes.nodes > 1 else "localhost:0"
    command = shlex.join(torchrun(run, replace(processes, rendezvous="PLACE"), program)).replace("PLACE", place)
    variables = {**ENVIRONMENT, LAUNCHED: "1", "PYTHONPATH": environment(1)["PYTHONPATH"]}
    quoted = {name: shlex.quote(str(path.resolve())) for name, path in _files(run).items()}
    text = _SCRIPT.format(
        name=shlex.quote(f"maisi-{run.name}"),
        nodes=processes.nodes,
        options="".join(f"#SBATCH {option}\n" for option in options),
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        command=command,
        **quoted,
    )
    path = run.path / "job.sbatch"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} could not be written: {error}.") from error
    return path


def submit(run: RunFolder, script: Path) -> int:
    """Hand ``script`` to SLURM; returns the number of the job.

    Raises:
        InputError: SLURM is not there, or refuses the job.
    """
    said = _ask("sbatch", "--parsable", str(script))
    if said is None:
        raise InputError("SLURM is not on this machine (there is no sbatch); use --launcher local.")
    if said.returncode:
        raise InputError(f"SLURM refuses the job: {' '.join(said.stderr.split())}")
    job = int(said.stdout.split(";")[0])
    run.write_launcher("slurm", job=job)
    return job


def job_state(job: int) -> str | None:
    """What SLURM says of a job, such as "PENDING" or "RUNNING"; "" when it is no longer queued, None if unknown."""
    said = _ask("squeue", "--noheader", "--format=%T", f"--jobs={job}", "--states=all")
    if said is None:
        return None
    if said.returncode:  # forgotten by now, unless SLURM itself does not answer
        return "" if "Invalid job id" in said.stderr else None
    return said.stdout.strip()


def cancel(job: int) -> None:
    """Take a job out of the queue."""
    _ask("scancel", str(job))


def live_status(run: RunFolder) -> Status:
    """``run.status()``, and of a job of SLURM what the queue knows better. Asks SLURM: not to be called each second."""
    status, job = run.status(), run.launcher().get("job")
    if not isinstance(job, int) or status.state in ("finished", "failed"):
        return status
    state = job_state(job)
    if state in ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED"):  # also when it goes on after a time limit
        return replace(status, state="starting", sentence=f"Job {job} waits in SLURM's queue ({state}).")
    if status.has_ended or state is None or state in ("RUNNING", "COMPLETING"):
        return status
    said = run.status()  # it may have ended between the two questions
    told = f"SLURM's job {job} has ended ({state or 'no longer known'}); the log tells more. It can go on."
    return said if said.has_ended else replace(said, state="lost", sentence=told)


def _files(run: RunFolder) -> dict[str, Path]:
    return {"log": run.log, "stop": run.stop_file, "status": run.status_file}


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run one of SLURM's commands; None if it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
