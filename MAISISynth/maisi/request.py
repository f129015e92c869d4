"""What is to be made from which files: read from the command line or from the record of an earlier result."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maisi.errors import InputError
from maisi.options import Options
from maisi.volume import ImageVolume, LabelVolume, Volume

if TYPE_CHECKING:
    from maisi.synthesis import SynthesisResult

ROLES = {"synthesize": ("labels",), "edit": ("image", "before", "after"), "generate": (), "vary": ("labels",)}
ARRAYS = ("noise", "latents")
HOW = {"synthesize": "from a label map", "edit": "by editing an image", "generate": "without a label map"}


@dataclass(frozen=True)
class Request:
    """One image to be made.

    Attributes:
        command: "synthesize", "edit", "generate" or "vary" (which :mod:`maisi.vary` makes).
        files: by role: see ``ROLES``, and "noise", "latents" where given.
        numbering: of the label files. shape, spacing: of the image (mm), for "generate".
        strength: how far back towards noise given latents are taken, 0 to 1.
    """

    command: str
    options: Options
    files: dict[str, Path] = field(default_factory=dict)
    numbering: str = "maisi"
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    strength: float = 1.0

    def with_seed(self, seed: int) -> Request:
        """The same with another seed."""
        return replace(self, options=replace(self.options, seed=seed))

    def to_json(self, folder: Path) -> dict[str, Any]:
        """As a dictionary; file names are relative to ``folder`` where they can be."""
        return {
            "command": self.command,
            "options": self.options.to_json(),
            "files": {role: _relative(path, folder) for role, path in self.files.items()},
            "numbering": self.numbering,
            "shape": self.shape and list(self.shape),
            "spacing": self.spacing and list(self.spacing),
            "strength": self.strength,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], folder: Path) -> Request:
        """The request in a dictionary. Raises KeyError, TypeError, ValueError or InputError if it is none."""
        if not set(ROLES[values["command"]]) <= set(values["files"]):
            raise ValueError("files are missing")
        return cls(
            command=values["command"],
            options=Options.from_json(values["options"]),
            files={role: folder / path for role, path in values["files"].items()},
            numbering=values["numbering"],
            shape=values["shape"] and tuple(values["shape"]),
            spacing=values["spacing"] and tuple(values["spacing"]),
            strength=values["strength"],
        )


@dataclass(frozen=True)
class Inputs:
    """The content of a request's files.

    Attributes:
        volumes: by role, all on one grid. arrays: noise and latents, ``[4, i, j, k]``. grid: of the result.
    """

    volumes: dict[str, Volume]
    arrays: dict[str, np.ndarray]
    grid: Volume

    @property
    def labels(self) -> LabelVolume | None:
        """The label map that goes with the result."""
        return self.volumes.get("labels") or self.volumes.get("after")

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each array, by role."""
        volumes = {role: volume.array for role, volume in self.volumes.items()}
        return {role: array_sha256(array) for role, array in {**volumes, **self.arrays}.items()}


def read_inputs(request: Request) -> Inputs:
    """Read the files of ``request``; in an edit the labels are brought to the grid of the image.

    Raises:
        InputError: a file is missing or cannot be used, the grids do not go together, or there is no such model.
    """
    from maisi.files import read_image, read_labels
    from maisi.geometry import place_on
    from maisi.models.variants import get_variant

    get_variant(request.options.model)  # lesion classes of its own are known from here on
    files = request.files
    arrays = {role: _read_array(files[role]) for role in ARRAYS if role in files}
    if request.command == "generate":
        return Inputs({}, arrays, _empty(request))
    if request.command == "synthesize":
        labels = read_labels(files["labels"], request.numbering)
        return Inputs({"labels": labels}, arrays, labels)
    image = read_image(files["image"])
    before, after = (place_on(read_labels(files[role], request.numbering), image) for role in ("before", "after"))
    return Inputs({"image": image, "before": before, "after": after}, arrays, image)


def run(request: Request, inputs: Inputs, progress: Callable[[str, int, int], None]) -> SynthesisResult:
    """Make the image. Raises what :mod:`maisi.synthesis` raises."""
    from maisi import editing, synthesis
    from maisi.runs import RUNS

    settings = {**request.options.to_json(), "progress": progress}
    if request.command == "edit":
        RUNS.clear()  # so that the files alone decide, and the record repeats the result
        return editing.edit(*inputs.volumes.values(), **settings)
    settings |= {**inputs.arrays, "strength": request.strength}
    if request.command == "generate":
        return synthesis.generate(request.shape, request.spacing, **settings)
    return synthesis.synthesize(*inputs.volumes.values(), **settings)


def array_sha256(array: np.ndarray) -> str:
    """SHA-256 of type, shape and content, whatever the order in memory."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _empty(request: Request) -> Volume:
    """A volume of the grid that ``generate`` makes (nothing is in it, and it takes no memory)."""
    if min(request.shape) < 1 or min(request.spacing) <= 0:
        raise InputError("The size must be voxels and the spacing mm, all greater than zero.")
    array = np.broadcast_to(np.int16(0), request.shape)
    return ImageVolume(array, np.diag([*request.spacing, 1.0]))


def _read_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a .npy file of numbers.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise InputError(f"{path} holds no array of fractions; give one that --save-latents wrote.")
    return array.astype(np.float32)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return str(path.absolute())
