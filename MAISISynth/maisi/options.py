"""How an image is to be made: every choice a user has, checked where it enters, stored with every result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from maisi.errors import InputError

SOLVERS = ("euler", "adams-bashforth", "heun", "ddpm", "ddim")
TIME_GRIDS = ("reference", "clean")
REGIONS = ("head", "chest", "abdomen", "pelvis")
METHODS = ("local", "full")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Options:
    """The choices of one synthesis. JSON-able; the same options, labels and device give the same image.

    Where the free memory leads to other tiles, "the same" means up to float error: single voxels differ by 1 HU.

    Attributes:
        model: name in ``maisi models list``. seed: of the noise, 0 to 2^63 - 1.
        steps: of the solver, 1 to 1000 (None: the model's default).
        solver: "euler", "adams-bashforth", "heun" (rectified flow), "ddpm", "ddim" (DDPM models); None: the model's.
        time_grid: of rectified flow: "reference" or "clean" (FACTS 1.7); None: the one the model is meant for.
        guidance: scale of classifier-free guidance (FACTS 2.5); 0 = none; None: the model's default.
        modality: name of the contrast to make, such as "t1" (None: the model's default).
        regions: body regions that the image shows, from "head" to "pelvis"; only ``ddpm-ct`` takes them, and only
            where they do not follow from a label map.
        compatible: do exactly what the reference does (time grid, random numbers, windowed decoding), at its speed.
        precision: of the networks: "auto" (by device), "float32", "float16", "bfloat16".
        compiled: let torch.compile make faster kernels; takes minutes at first, pays on CUDA with many images.
        retries: how often to try again with another seed when the quality check fails.
        method: of an edit: "local" computes only its surroundings (where the model and ``compatible`` allow it),
            "full" the whole image anew with the same seed.
        device: "auto", "cpu", "mps", "cuda" or "cuda:N".

    Raises:
        InputError: a value cannot be used.
    """

    model: str = "embedded"
    seed: int = 0
    steps: int | None = None
    solver: str | None = None
    time_grid: str | None = None
    guidance: float | None = None
    modality: str | None = None
    regions: tuple[str, ...] = ()
    compatible: bool = False
    precision: str = "auto"
    compiled: bool = False
    retries: int = 0
    method: str = "local"
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError(f"The seed must be a whole number from 0 to 2^63 - 1, got {self.seed}.")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise InputError(f"The number of steps must be from 1 to 1000, got {self.steps}.")
        object.__setattr__(self, "regions", tuple(self.regions))  # a list in JSON
        for name, value, known in (
            ("solver", self.solver or SOLVERS[0], SOLVERS),
            ("time grid", self.time_grid or TIME_GRIDS[0], TIME_GRIDS),
            ("precision", self.precision, PRECISIONS),
            ("method", self.method, METHODS),
            *(("body region", region, REGIONS) for region in self.regions),
        ):
            if value not in known:
                raise InputError(f"There is no {name} {value!r}; available: {', '.join(known)}.")
        if self.guidance is not None and not 0 <= self.guidance <= 30:
            raise InputError(f"The guidance scale must be from 0 (none) to 30, got {self.guidance}.")
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
