"""One training loop for all networks: time budget, warm-up, cosine decay, EMA, NaN guard, resumable checkpoints."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

LossFunction = Callable[[np.random.Generator], tuple[Tensor, dict[str, float]]]


class Loop:
    """Trains ``modules`` with AdamW until a budget of minutes is used up, in as many sittings as it takes.

    The run folder holds ``checkpoint.pt`` (everything needed to go on), ``metrics.jsonl`` and, at the end or after each
    sitting, the averaged weights inside the checkpoint. Batch ``n`` draws from a generator seeded with ``n``, so a
    resumed run sees the same data as an uninterrupted one.

    Args:
        run: folder. modules: what is trained, by name. minutes: total training time over all sittings.
        learning_rate: at its peak. ema: decay of the weight average.
    """

    def __init__(
        self, run: Path, modules: dict[str, nn.Module], minutes: float, learning_rate: float = 1e-3, ema: float = 0.999
    ) -> None:
        self.folder, self.modules, self.budget = run, nn.ModuleDict(modules), 60.0 * minutes
        self.learning_rate, self.decay = learning_rate, ema
        self.step, self.elapsed = 0, 0.0
        self.parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, learning_rate, weight_decay=1e-4)
        self.average = [p.detach().clone() for p in self.parameters]
        run.mkdir(parents=True, exist_ok=True)
        self._stop = False
        self._resume()

    def train(self, loss_function: LossFunction, checkpoint_every: float = 120.0, log_every: int = 25) -> None:
        """Run until the budget is spent, or until SIGTERM or a file ``stop`` in the run folder asks to end early."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stop", True))
        metrics: list[dict[str, float]] = []
        saved = time.monotonic()
        while self.elapsed < self.budget and not self._stop and not (self.folder / "stop").exists():
            start = time.monotonic()
            metrics.append(self._update(loss_function))
            self.elapsed += time.monotonic() - start
            if self.step % log_every == 0:
                self._log(metrics)
                metrics = []
            if time.monotonic() - saved > checkpoint_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def averaged(self) -> None:
        """Put the averaged weights into the modules."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                parameter.copy_(average)

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then move it into place."""
        state = {
            "step": self.step,
            "elapsed": self.elapsed,
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }
        temporary = self.folder / "checkpoint.part"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.step, self.elapsed = state["step"], state["elapsed"]
            self.modules.load_state_dict(state["modules"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = state["average"]

    def _update(self, loss_function: LossFunction) -> dict[str, float]:
        self._set_learning_rate()
        loss, metrics = loss_function(np.random.default_rng(self.step))
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if not torch.isfinite(norm):
            return {**metrics, "skipped": 1.0}
        self.optimizer.step()
        with torch.no_grad():
            decay = min(self.decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        return metrics

    def _set_learning_rate(self) -> None:
        warm_up = min(1.0, (self.step + 1) / 50)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.elapsed / self.budget)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * warm_up * (0.03 + 0.97 * cosine)

    def _log(self, metrics: list[dict[str, float]]) -> None:
        names = {name for m in metrics for name in m}
        row = {name: float(np.mean([m.get(name, 0.0) for m in metrics])) for name in sorted(names)}
        row = {"step": self.step, "minutes": round(self.elapsed / 60, 2), **row}
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
