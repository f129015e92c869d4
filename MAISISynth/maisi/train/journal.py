"""The figures of a training, written for people (log), panels (metrics.jsonl) and TensorBoard."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from typing import Any

from maisi.train.metrics import append_row
from maisi.train.run_folder import RunFolder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of TensorBoard about its own imports
    from torch.utils.tensorboard import SummaryWriter

_log = logging.getLogger(__name__)


class Journal:
    """Writes rows; on processes other than the first it writes nothing. A full disk ends no training."""

    def __init__(self, run: RunFolder, writes: bool) -> None:
        self._run, self._writes = run, writes
        self._board: SummaryWriter | None = None

    def begin(self, step: int) -> None:
        """Figures after ``step`` will follow; those of an earlier sitting that went further no longer count."""
        if self._writes:
            self._append({"split": "resume", "step": step, "time": time.time()})
            self._board = SummaryWriter(str(self._run.tensorboard), purge_step=step + 1)

    def row(self, split: str, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Write one row everywhere."""
        if not self._writes:
            return
        _log.info("%s, step %d: %s", split, step, "  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        self._append({"step": step, "epoch": round(epoch, 4), "time": time.time(), "split": split, **figures})
        if self._board is not None:
            try:
                for name, value in figures.items():
                    self._board.add_scalar(f"{split}/{name}", value, step)
                self._board.flush()
            except OSError as error:
                _log.error("TensorBoard's file cannot be written (%s); it ends here.", error)
                self._board = None

    def _append(self, row: Mapping[str, Any]) -> None:
        try:
            append_row(self._run.metrics, row)
        except OSError as error:
            _log.error("A row of %s could not be written (%s). Training goes on.", self._run.metrics.name, error)
