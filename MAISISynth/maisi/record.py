"""The record beside each result: what was asked, what was used, what came out; enough to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import maisi
from maisi.errors import InputError
from maisi.request import Inputs, Request, array_sha256
from maisi.volume import ImageVolume, Volume

if TYPE_CHECKING:
    from maisi.synthesis import SynthesisResult

FORMAT = "maisi-record"


def write_record(path: Path, request: Request, checksums: dict[str, str], result: SynthesisResult) -> None:
    """Write the record of ``result``. ``checksums``: those of the request's :class:`maisi.request.Inputs`.

    Raises:
        InputError: it cannot be written.
    """
    from maisi.files import write_json

    content = {
        "format": FORMAT,
        "version": 1,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "software": _software(),
        "request": request.to_json(path.parent),
        "inputs_sha256": checksums,
        "grid": {"shape": list(result.image.shape), "affine": result.image.affine.tolist()},
        "image_sha256": array_sha256(result.image.array),
        "result": {key: value for key, value in result.info.items() if key != "options"},
    }
    write_json(path, content)


def is_record(path: Path) -> bool:
    """Whether the file at ``path`` is a record."""
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


class Record:
    """A record that was read: the request, and whether what it needs is still the same.

    Raises:
        InputError: the file is missing or is no record.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        if not is_record(path):
            raise InputError(f"{path} is not the record of a result; give the .json that stands beside an image.")
        try:
            self._content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self.request = Request.from_json(self._content["request"], path.parent)
            shape, affine = self._content["grid"]["shape"], self._content["grid"]["affine"]
            self._grid = ImageVolume(np.broadcast_to(np.int16(0), shape), affine)
            self._checksums: dict[str, str] = self._content["inputs_sha256"]
            self._result: dict[str, Any] = self._content["result"]
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise InputError(f"The record {path} is damaged or of another version ({error}).") from error

    def check_model(self) -> None:
        """Raise InputError when the model is another one than it was."""
        from maisi.models.variants import get_variant

        variant = get_variant(self.request.options.model)
        if variant.checksum != self._result["model_sha256"]:
            raise InputError(
                f"The model {variant.name} is another one than the image was made with (its checksum differs); "
                "install the version that has it."
            )

    def check_inputs(self, inputs: Inputs) -> None:
        """Raise InputError when a file is another one than it was."""
        for role, checksum in inputs.checksums.items():
            if checksum != self._checksums.get(role):
                raise InputError(
                    f"The file {self.request.files[role]} ({role}) is another one than the image was made from; "
                    "bring the first one back."
                )
        if not self._grid.same_grid(inputs.grid):
            raise InputError("The files lie on another grid than the image that was made from them.")

    def same_image(self, image: Volume) -> bool:
        """Whether ``image`` has the very voxels of the first result."""
        return array_sha256(image.array) == self._content["image_sha256"]

    def differences(self, device: str) -> Iterator[str]:
        """What is other than it was and may change the image a little."""
        was = {**self._content["software"], "device": self._result.get("device", device)}
        for name, now in {**_software(), "device": device}.items():
            if was.get(name) != now:
                yield f"made with {name} {was.get(name)}, now {now}"


def _software() -> dict[str, str]:
    return {"maisi": maisi.__version__, "torch": version("torch")}
