"""The record beside each result: what was asked, what was used, what came out; enough to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import maisi
from maisi.errors import InputError
from maisi.files import read_image, write_json
from maisi.request import Inputs, Request, array_sha256
from maisi.volume import ImageVolume

if TYPE_CHECKING:
    from maisi.synthesis import SynthesisResult

FORMAT = "maisi-record"


def write_record(path: Path, image: Path, request: Request, checksums: dict[str, str], result: SynthesisResult) -> None:
    """Write the record of ``result`` to ``path``.

    Args:
        image: the result's file or folder, beside ``path``. checksums: those of the request's inputs.

    Raises:
        InputError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": 1,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "software": software(),
        "request": request.to_json(path.parent),
        "inputs_sha256": checksums,
        "grid": {"shape": list(result.image.shape), "affine": result.image.affine.tolist()},
        "image": {"file": image.name, "sha256": array_sha256(result.image.array)},
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
    """A record that was read: the request, where its image stands, and whether what it needs is still the same.

    Raises:
        InputError: the file is missing or is no record.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        if not is_record(path):
            raise InputError(f"{path} is not the record of a result; give the .json that stands beside an image.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            self.request = Request.from_json(content["request"], path.parent)
            self.image = path.parent / content["image"]["file"]
            self._image_sha256: str = content["image"]["sha256"]
            self._grid = ImageVolume(np.broadcast_to(np.int16(0), content["grid"]["shape"]), content["grid"]["affine"])
            self._checksums: dict[str, str] = content["inputs_sha256"]
            self._model_sha256: str = content["result"]["model_sha256"]
            self._made_with = {**content["software"], "device": content["result"]["device"]}
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise InputError(f"The record {path} is damaged or of another version ({error}).") from error

    def check_model(self) -> None:
        """Raise InputError when the model is another one than it was."""
        from maisi.models.variants import get_variant

        variant = get_variant(self.request.options.model)
        if variant.checksum != self._model_sha256:
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

    def compare(self, image: ImageVolume, device: str) -> Iterator[str]:
        """Sentences on how ``image``, made again on ``device``, relates to the first one."""
        if array_sha256(image.array) == self._image_sha256:
            yield "The image is identical to the first one."
        else:
            yield f"The image is not identical to the first one{self._difference(image)}."
        now = {**software(), "device": device}
        for name, was in self._made_with.items():
            if was != now[name]:
                yield f"The first one was made with {name} {was}, this one with {now[name]}."

    def _difference(self, image: ImageVolume) -> str:
        """How much they differ, where the first one is still there."""
        if not self.image.is_file():
            return ""
        first = read_image(self.image).array
        if array_sha256(first) != self._image_sha256:
            return ""
        difference = np.abs(image.array.astype(np.float32) - first)
        return f": {np.count_nonzero(difference)} of {first.size} voxels differ, by {difference.max():g} at most"


def software() -> dict[str, str]:
    """What computes here, by name and version."""
    return {"maisi": maisi.__version__, "torch": version("torch")}
