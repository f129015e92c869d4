"""Opening one weight file: nothing in it can run, and the layouts of the released checkpoints are understood."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from maisi.errors import WeightsError

WRAPPERS = ("unet_state_dict", "controlnet_state_dict")  # autoencoders may stand under the first one, too
SCALE_FACTOR = "scale_factor"
# Training scripts store losses as NumPy numbers. They are plain data, but torch wants to be told.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_PLAIN_DATA = [
    *((_NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int64")),
]


class Checkpoint(NamedTuple):
    """What a weight file holds: tensors by name, and the scale factor of the latents if it stands there."""

    state: dict[str, Tensor]
    scale_factor: float | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a ``.safetensors`` or ``.pt`` file (FACTS 1.8): a bare state dict, or one under ``unet_state_dict`` or
    ``controlnet_state_dict`` beside ``scale_factor``, epoch and loss. Tensors are mapped from the disk where possible,
    so that opening reads only what is used.

    Raises:
        WeightsError: missing, damaged, a pickle that could run code, or no weights in it.
    """
    if not path.is_file():
        raise WeightsError(f"The weight file {path} is missing; get it again.")
    content = load_safely(path)
    try:
        scale = content.get(SCALE_FACTOR)
        state = next((content[wrapper] for wrapper in WRAPPERS if wrapper in content), content)
        tensors = {k: v for k, v in state.items() if isinstance(v, Tensor) and k != SCALE_FACTOR}
        scale_factor = None if scale is None else float(scale)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        tensors = {}
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors, so it is not a weight file; get it again.")
    return Checkpoint(tensors, scale_factor)


def load_safely(path: Path) -> Any:
    """The content of a file in safetensors' or torch's format; only tensors, numbers, strings and containers of them.

    Raises:
        WeightsError: damaged, or a pickle that could run code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_PLAIN_DATA):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "Unsupported operand" not in str(error):  # which is what torch says of files that are no pickles of its own
            raise WeightsError(
                f"{path} holds more than weights and was not opened, since it could run code; use the published file."
            ) from error
        raise _damaged(path) from error
    except Exception as error:  # a damaged file can break a parser anywhere
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise
        raise _damaged(path) from error


def metadata_of(path: Path) -> dict[str, str]:
    """The texts in the header of a ``.safetensors`` file. Raises WeightsError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except Exception as error:
        raise _damaged(path) from error


def check_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, network: str) -> None:
    """Compare names and shapes of tensors with those that a network has.

    Args:
        expected: the network's own state dict, on any device. network: how to call it in the message.

    Raises:
        WeightsError: they differ; some of the differences are named.
    """
    faults = {
        "missing": sorted(expected.keys() - state.keys()),
        "not of this network": sorted(state.keys() - expected.keys()),
        "of another shape": [k for k in expected if k in state and state[k].shape != expected[k].shape],
    }
    told = [f"{_some(names)} {fault}" for fault, names in faults.items() if names]
    if told:
        raise WeightsError(
            f"The weight file {path} does not fit the {network} ({'; '.join(told)}); get the right file."
        )


def _some(names: list[str]) -> str:
    rest = len(names) - 2
    return ", ".join(names[:2]) + (f" and {rest} more" if rest > 0 else "")


def _damaged(path: Path) -> WeightsError:
    return WeightsError(f"The weight file {path} is damaged or incomplete; get it again.")
