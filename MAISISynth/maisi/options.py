"""How an image is to be made: every choice a user has, checked where it enters, stored with every result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from maisi.errors import InputError

SOLVERS = ("euler", "adams-bashforth", "heun", "ddpm", "ddim")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Options:
    """The choices of one synthesis. JSON-able; the same options, labels and device give the same image.

    Attributes:
        model: name in ``maisi models list``. seed: of the noise, 0 to 2^63 - 1.
        steps: of the solver, 1 to 1000 (None: the model's default).
        solver: "euler", "adams-bashforth", "heun" (rectified flow), "ddpm", "ddim" (DDPM models); None: the model's.
        guidance: scale of classifier-free guidance (FACTS 2.5); 0 = none; None: the model's default.
        modality: name of the contrast to make, such as "t1" (None: the model's default).
        compatible: do exactly what the reference does (time grid, random numbers, windowed decoding), at its speed.
        precision: of the networks: "auto" (by device), "float32", "float16", "bfloat16".
        retries: how often to try again with another seed when the quality check fails.
        device: "auto", "cpu", "mps", "cuda" or "cuda:N".

    Raises:
        InputError: a value cannot be used.
    """

    model: str = "embedded"
    seed: int = 0
    steps: int | None = None
    solver: str | None = None
    guidance: float | None = None
    modality: str | None = None
    compatible: bool = False
    precision: str = "auto"
    retries: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError(f"The seed must be a whole number from 0 to 2^63 - 1, got {self.seed}.")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise InputError(f"The number of steps must be from 1 to 1000, got {self.steps}.")
        if self.solver not in (None, *SOLVERS):
            raise InputError(f"There is no solver {self.solver!r}; available: {', '.join(SOLVERS)}.")
        if self.guidance is not None and not 0 <= self.guidance <= 30:
            raise InputError(f"The guidance scale must be from 0 (none) to 30, got {self.guidance}.")
        if self.precision not in PRECISIONS:
            raise InputError(f"There is no precision {self.precision!r}; available: {', '.join(PRECISIONS)}.")
        if not 0 <= self.retries <= 20:
            raise InputError(f"The number of retries must be from 0 to 20, got {self.retries}.")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Options:
        """Options from a dictionary. Raises InputError for names that are none."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise InputError(f"There is no option called {', '.join(sorted(unknown))}.")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The options as a dictionary."""
        return asdict(self)
