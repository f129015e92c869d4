"""A ``maisi models`` command on the machine that computes: a download takes long, and needs packages."""

from __future__ import annotations

from MAISILib.Interpreter import Interpreter
from MAISILib.MaisiCommand import MaisiCommand

PROGRAM = ("-m", "maisi", "models")


class ModelCommand(MaisiCommand):
    """A download that is cancelled goes on from there the next time."""

    def __init__(self, interpreter: Interpreter, *arguments: str, program: tuple[str, ...] = PROGRAM) -> None:
        super().__init__(interpreter, interpreter.workerCommand, *program, *arguments)
