"""The training loop. It knows no CT: what is trained, on what and with which loss is the stage's (:mod:`.stage`)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from maisi.errors import MaisiError
from maisi.train.averages import Averages
from maisi.train.checkpoint import newest_checkpoint, read_checkpoint, save_checkpoint
from maisi.train.config import TrainConfig
from maisi.train.heartbeat import Heartbeat
from maisi.train.interruption import Interruption
from maisi.train.journal import Journal
from maisi.train.length import Length
from maisi.train.means import Means
from maisi.train.players import Part, Players, samples
from maisi.train.ranks import Ranks
from maisi.train.results import validate, write_previews, write_weights
from maisi.train.run_folder import RunFolder
from maisi.train.schedule import learning_rate
from maisi.train.seeding import generator, seed_everything
from maisi.train.stage import Batch, Progress, Stage

_log = logging.getLogger(__name__)


class TrainingError(MaisiError):
    """The training cannot go on by itself."""

    kind = "training"


class Agreement(NamedTuple):
    """What all processes know of a step.

    Attributes:
        stop, checkpoint: whether to do so after it. samples: of all processes.
        elapsed: seconds of training on process 0, of all sittings.
    """

    stop: bool
    checkpoint: bool
    samples: int
    elapsed: float


def train(stage: Stage, config: TrainConfig, run: RunFolder, ranks: Ranks) -> str:
    """Train until the end, or until asked to stop; goes on from the newest checkpoint in ``run``.

    Every process calls it with a stage of the same configuration. The same number of processes and the same seed give
    the same weights, whether or not it was interrupted: to the bit on a CPU with a fixed number of threads; on CUDA
    as far as its kernels are deterministic.

    Returns:
        "finished" or "stopped".

    Raises:
        TrainingError: too many steps in a row had no finite gradient.
    """
    with Heartbeat(run, ranks.is_first) as heartbeat, Interruption(run) as interruption:
        trainer = Trainer(stage, config, run, ranks, heartbeat)
        trainer.resume()
        state = trainer.run(interruption)
        heartbeat.say(state=state, seconds_left=None)
    return state


class Trainer:
    """A training under way."""

    def __init__(self, stage: Stage, config: TrainConfig, run: RunFolder, ranks: Ranks, heartbeat: Heartbeat) -> None:
        self.stage, self.config, self.run_folder, self.ranks = stage.to(ranks.device), config, run, ranks
        self.players = Players(stage, config, ranks)  # gives every process the weights of the first
        self.averages = Averages(stage.averaged(), config.run.ema)
        self.batches = stage.batches(ranks.rank, ranks.world)
        self.length = Length(config.run, self.batches.steps_per_epoch)
        self.figures, self.journal, self.heartbeat = Means(ranks), Journal(run, ranks.is_first), heartbeat
        self.step, self.elapsed = 0, 0.0
        self.skipped, self.skipped_in_a_row = 0, 0
        self.best, self.best_step = math.inf, 0
        self.begun = self.saved = self.logged = time.monotonic()
        self.logged_step = self.told = 0

    def run(self, interruption: Interruption) -> str:
        """The loop."""
        every, batches, stop = self.config.run, iter(self.batches), False
        self.stage.train()
        while not (stop or self.is_over):
            seed_everything(every.seed, self.step, self.ranks.rank)
            taken = [self.ranks.to_device(next(batches)) for _ in range(every.accumulate)]
            agreed = self._agree(sum(map(samples, taken)), interruption)
            self._update(taken, agreed)
            self.step, self.elapsed, stop = self.step + 1, agreed.elapsed, agreed.stop
            if self._is_due(every.log_every):
                self._log()
            if self._is_due(every.validate_every):
                self._validate()
            if self._is_due(every.preview_every):
                self._preview()
            if stop or agreed.checkpoint or self.is_over:
                self._save()
        if not self.best_step:
            self._write_weights()
        return "finished" if self.is_over else "stopped"

    @property
    def progress(self) -> Progress:
        """Where the training stands."""
        return self.length.progress(self.step, self.elapsed)

    @property
    def is_over(self) -> bool:
        """Whether its length is reached."""
        return self.progress.fraction >= 1

    # ---- one step

    def _agree(self, mine: int, interruption: Interruption) -> Agreement:
        """One exchange a step settles what processes could see differently."""
        first, every, now = self.ranks.is_first, self.config.run, time.monotonic()
        due = now - self.saved >= 60 * every.checkpoint_minutes
        due = due or bool(every.checkpoint_steps and (self.step + 1) % every.checkpoint_steps == 0)
        told = interruption.is_asked(), first and due, mine, now - self.begun if first else 0.0
        stop, checkpoint, total, elapsed = self.ranks.sum(told)
        return Agreement(stop > 0, checkpoint > 0, int(total), elapsed)

    def _update(self, taken: Sequence[Batch], agreed: Agreement) -> None:
        """Every player's turn on the same batches."""
        progress, key = self.progress, (self.config.run.seed, self.step, self.ranks.rank)
        rate = learning_rate(self.config.optimizer, progress, self.length.steps_per_epoch)
        share = self.ranks.world / agreed.samples  # DistributedDataParallel divides by the number of processes
        mine, finite = sum(map(samples, taken)), True
        for player in self.players.turns():
            generators = [generator(*key, player.name, index) for index in range(len(taken))]
            parts = [Part(batch, samples(batch) * share, g) for batch, g in zip(taken, generators, strict=True)]
            norm, sums = player.step(parts, progress, rate)
            if norm.isfinite():
                self.figures.add({**sums, player.figure("gradient_norm"): norm * mine}, mine)
            else:
                finite = False
        self.averages.update(self.step + 1)
        self.figures.add({"learning_rate": rate * mine, "samples_per_step": agreed.samples * mine}, mine)
        self._judge(finite, taken)

    def _judge(self, finite: bool, taken: Sequence[Batch]) -> None:
        """Count steps without a finite gradient, which changed nothing; give up when there are too many in a row."""
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if finite:
            return
        self.skipped += 1
        names = ", ".join(name for batch in taken for name in batch.get("id", ()))
        _log.warning("Step %d is left out: its gradient is not finite. %s", self.step + 1, names and f"Data: {names}.")
        if self.skipped_in_a_row >= self.config.run.skips:
            raise TrainingError(
                f"The gradient was not finite in {self.skipped_in_a_row} steps in a row, up to step {self.step + 1}; "
                "lower optimizer.learning_rate, lengthen optimizer.warmup_steps or set run.precision=float32, and go "
                "on from the last checkpoint (--resume)."
            )

    # ---- now and then

    def _is_due(self, every: int) -> bool:
        return bool(every) and (self.step % every == 0 or self.is_over)

    def _log(self) -> None:
        """A row of figures since the last one."""
        figures, now = self.figures.take(), time.monotonic()
        seconds = (now - self.logged) / (self.step - self.logged_step)
        self.logged, self.logged_step = now, self.step
        figures["samples_per_second"] = figures.pop("samples_per_step") / seconds
        if self.ranks.device.type == "cuda":
            figures["memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
        if self.skipped:
            figures["skipped_steps"] = self.skipped
        self.journal.row("train", self.step, self.length.epoch(self.step), figures)
        self.heartbeat.set(seconds_left=self.length.seconds_left(self.step, self.elapsed, seconds), **self._standing())

    def _standing(self) -> dict[str, Any]:
        """For status.json."""
        skipped = dict(self.batches.skipped)
        for name in list(skipped)[self.told :]:
            _log.warning("%s is left out: %s", name, skipped[name])
        self.told = len(skipped)
        unreadable = len(set().union(*self.ranks.gather(list(skipped))))
        best = {"best": self.best, "best_step": self.best_step} if self.best_step else {}
        epoch, steps = self.length.epoch(self.step), self.length.steps or 0
        counts = {"skipped_steps": self.skipped, "unreadable": unreadable}
        return {"step": self.step, "steps": steps, "epoch": epoch, **counts, **best}

    def _validate(self) -> None:
        with self.averages.in_place():
            figures = validate(self.stage, self.config.run, self.ranks)
            if figures:
                self.journal.row("validation", self.step, self.length.epoch(self.step), figures)
            is_best = figures.get("score", math.inf) < self.best
            if is_best and self.ranks.is_first:
                write_weights(self.stage, self.run_folder)
        if is_best:
            self.best, self.best_step = figures["score"], self.step
            self.heartbeat.set(best=self.best, best_step=self.best_step)

    def _preview(self) -> None:
        if self.ranks.is_first:
            with self.averages.in_place():
                write_previews(self.stage, self.config.run, self.ranks, self.run_folder, self.step)

    def _write_weights(self) -> None:
        if self.ranks.is_first:
            with self.averages.in_place():
                write_weights(self.stage, self.run_folder)

    # ---- checkpoints

    def _save(self) -> None:
        state = {**self._state_dict(), "batches": self.ranks.gather(self.batches.state_dict())}
        if self.ranks.is_first:
            problem = save_checkpoint(self.run_folder, self.step, state)
            if problem:
                _log.error("%s Training goes on.", problem)
            self.heartbeat.set(sentence=problem)
        self.saved = time.monotonic()

    def _state_dict(self) -> dict[str, Any]:
        """There are no states of generators: their seeds follow from the step; nor of the learning rate."""
        return {
            "stage": self.stage.state_dict(),
            "averages": self.averages.state_dict(),
            "players": self.players.state_dict(),
            "counts": {name: getattr(self, name) for name in _COUNTS},
        }

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        path = self.ranks.from_first(newest_checkpoint(self.run_folder) if self.ranks.is_first else None)
        if path is not None:
            state = read_checkpoint(path)
            self.stage.load_state_dict(state["stage"])
            self.averages.load_state_dict(state["averages"])
            self.players.load_state_dict(state["players"])
            for name in _COUNTS:
                setattr(self, name, state["counts"][name])
            positions, same = state["batches"], len(state["batches"]) == self.ranks.world
            self.batches.load_state_dict(positions[self.ranks.rank if same else 0])
            self.begun -= self.elapsed
            self.logged_step = self.step
            _log.info("Goes on after step %d.", self.step)
        self.journal.begin(self.step)
        self.heartbeat.say(state="running", **self._standing())


_COUNTS = ("step", "elapsed", "skipped", "skipped_in_a_row", "best", "best_step")
