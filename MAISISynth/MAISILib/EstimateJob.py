"""What a job would need, asked of the worker that would do it: on the machine that computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maisi.protocol import Estimate, Estimated
from MAISILib.Worker import Worker

REFUSALS = ("input", "oom", "connection")  # kinds of error with which the job itself would end, too


class EstimateJob:
    """An estimate that is asked for from its making on; call ``poll`` until ``done``.

    The worker answers when the jobs before it are over. Memory is counted; the time comes from the speed of that
    machine, and is corrected by the jobs of the same model that this worker has done.

    Attributes:
        edit: whether it is about a change of a CT; unless such were measured, about one of 20 mm.
    """

    def __init__(
        self, worker: Worker, shape: Sequence[int], affine: np.ndarray, options: dict, edit: bool = False
    ) -> None:
        """``shape``, ``affine``: of the grid, ``[I, J, K]`` to RAS mm. ``options``: of ``maisi.options.Options``."""
        self.edit = edit
        self._dropped = False
        grid = [int(n) for n in shape], [float(value) for value in np.ravel(affine)]
        self._job = worker.submit(Estimate(0, *grid, options, edit))

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._dropped or self._job.done

    @property
    def error(self) -> str:
        """Why there is no estimate; "" where there is one, or where it was cancelled."""
        return self._job.error

    @property
    def refused(self) -> bool:
        """Whether ``error`` is what the job itself would end with."""
        return self._job.errorKind in REFUSALS

    @property
    def memoryGb(self) -> float | None:
        """GB (2^30 bytes) on the device; None while nothing is known."""
        return self._answer.memory_gb if self._answer else None

    @property
    def seconds(self) -> float | None:
        """Seconds without loading the networks; None while nothing is known."""
        return self._answer.seconds if self._answer else None

    def poll(self) -> bool:
        """Take in what happened, without blocking; True if anything changed."""
        return not self._dropped and self._job.poll()

    def wait(self, timeout: float | None = None) -> EstimateJob:
        """Block until it is there. Raises JobError, JobCancelled, TimeoutError: as ``Job.wait``."""
        self._job.wait(timeout)
        return self

    def cancel(self) -> None:
        """It is not wanted any more. The worker goes on where it is at it: that takes no longer than an answer."""
        self._dropped = True
        if self._job.state != "running":
            self._job.cancel()

    @property
    def _answer(self) -> Estimated | None:
        return None if self._dropped else self._job.result
