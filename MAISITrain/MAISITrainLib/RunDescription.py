"""A training in words: one line for its step, a row for the table."""

from __future__ import annotations

from maisi.durations import duration
from MAISILib.Translate import _
from MAISITrainLib.RunWatcher import RunView, RunWatcher

STATES = {
    "starting": _("starting"),
    "running": _("running"),
    "stopping": _("stopping"),
    "stopped": _("stopped"),
    "finished": _("finished"),
    "failed": _("failed"),
    "lost": _("lost"),
}


def runRow(watcher: RunWatcher) -> tuple[str, ...]:
    """Name, stage, state, step, time left, loss, best validation score."""
    view = watcher.view
    if view is None or not view.exists:
        state = _("looking") if view is None else _("not found")
        return (watcher.folder.name, "", state, "", "", "", "")
    status = view.status
    best = "" if status.best is None else f"{status.best:.4g}"
    left = "" if status.seconds_left is None or status.has_ended else duration(status.seconds_left)
    loss = _figure(view.last().get("loss"))
    stage = str(view.config.get("stage", ""))
    return (watcher.folder.name, stage, STATES.get(status.state, status.state), _steps(view), left, loss, best)


def runLine(view: RunView) -> str:
    """For example "Step 120/1000, epoch 3.2, 2 h 1 min left, 14.2 samples/s, GPU memory 12.3 GB"."""
    status, figures = view.status, view.last()
    parts = [_("Step {steps}, epoch {epoch:.1f}").format(steps=_steps(view), epoch=status.epoch)]
    if status.seconds_left is not None and not status.has_ended:
        parts.append(_("{time} left").format(time=duration(status.seconds_left)))
    if "samples_per_second" in figures:
        parts.append(_("{rate:.3g} samples/s").format(rate=figures["samples_per_second"]))
    if "memory_gb" in figures:
        parts.append(_("GPU memory {memory:.1f} GB").format(memory=figures["memory_gb"]))
    if status.best is not None:
        parts.append(_("best {score:.4g} at step {step}").format(score=status.best, step=status.best_step))
    return ", ".join(parts)


def runNotes(view: RunView) -> str:
    """Sentences about what went wrong; "" when nothing did."""
    status = view.status
    notes = [status.sentence]
    if status.skipped_steps:
        text = _("{count} steps were left out, because their gradient was not finite.")
        notes.append(text.format(count=status.skipped_steps))
    if status.unreadable:
        text = _("{count} items of the data could not be read; the log names them.")
        notes.append(text.format(count=status.unreadable))
    return " ".join(filter(None, notes))


def _steps(view: RunView) -> str:
    status = view.status
    return f"{status.step}/{status.steps}" if status.steps else str(status.step)


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else ""
