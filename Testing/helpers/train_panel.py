"""What the presenters of MAISITrain talk to in tests: a view that remembers, a logic whose commands are real processes
that only say something."""

from __future__ import annotations

from functools import partial

from helpers.processes import waitUntil
from MAISILib.Interpreter import Interpreter
from MAISILib.MaisiCommand import MaisiCommand

SAYING = """
import sys, time
time.sleep({seconds})
print({output!r})
print({error!r}, file=sys.stderr)
sys.exit({code})
"""


def saying(output: str = "", error: str = "", code: int = 0, seconds: float = 0) -> MaisiCommand:
    """A command that prints this and ends so."""
    interpreter = Interpreter()
    text = SAYING.format(output=output, error=error, code=code, seconds=seconds)
    return MaisiCommand(interpreter, interpreter.command, "-c", text)


class FakeLogic:
    """Answers with the next of ``answers``, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.answers: list[MaisiCommand] = []
        self.used: list[str] = []

    def __getattr__(self, name: str):
        if not name.endswith("Command"):
            raise AttributeError(name)
        return partial(self._answer, name)

    def _answer(self, name: str, *arguments, **options) -> MaisiCommand:
        self.asked.append((name, *arguments, *([options] if options else [])))
        return self.answers.pop(0)

    def useInSynthesis(self, name: str) -> None:
        self.used.append(name)


class FakeView:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.started, self.followed, self.shown, self.opened = [], [], [], 0
        self.questions, self.agrees = [], True

    def showData(self, state) -> None:
        self.state = state

    showStart = showRuns = showData

    def showForm(self, rows) -> None:
        self.rows = {row.field.key: row.text for row in rows}

    def runStarted(self, path: str) -> None:
        self.started.append(path)

    def follow(self, path: str) -> None:
        self.followed.append(path)

    def showPreviews(self, nodes) -> None:
        self.shown.append([node.GetName() for node in nodes])

    def openSynthesis(self) -> None:
        self.opened += 1

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.agrees


def presenterOf(kind, panel):
    """A presenter of a section that needs packages; each time they are asked for is remembered."""
    parts = panel.view, panel.logic, panel.settings, panel.machine
    presenter = kind(*parts, lambda: panel.asked.append(True))
    presenter.update()
    return presenter


def toTheEnd(presenter) -> None:
    waitUntil(lambda: (presenter.poll(), not presenter.busy)[1])
