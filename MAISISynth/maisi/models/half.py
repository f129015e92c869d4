"""Half-precision copies of weight files: half the bytes to read, mapped from the disk, the same numbers.

Under float16 autocast every convolution and linear layer rounds its weights to float16 before it multiplies. The copy
holds them already rounded, so the results are those of the original bit for bit. What autocast leaves in float32 stays
float32: norms, biases (all one-dimensional) and the embedding table of the modality. Where the networks compute
in float32 or bfloat16, the rounding would show, so the original is taken there if it is present.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from maisi.models import checksums
from maisi.models.checkpoint import SCALE_FACTOR, read_checkpoint
from maisi.models.folder import replacing
from maisi.models.store import delete, half_path, weight_path
from maisi.models.variants import Variant


def convert(variant: Variant, drop_original: bool = False) -> list[Path]:
    """Write the half-precision copies of a downloaded model that do not exist yet.

    Args:
        drop_original: delete the original after that. Then float32 results differ slightly from the published ones.

    Returns:
        The copies of ``variant``.

    Raises:
        WeightsError: an original is missing, altered or unreadable, or the folder cannot be written.
    """
    copies = []
    for file in variant.weights:
        original, copy = weight_path(variant, file), half_path(variant, file)
        if not copy.is_file():
            _write_copy(original, copy, checksums.check(original, file.sha256))
        copies.append(copy)
        if drop_original:
            delete(original)
    return copies


def _write_copy(original: Path, copy: Path, sha256: str | None) -> None:
    state, scale_factor = read_checkpoint(original)
    tensors = {key: _rounded(key, value) for key, value in state.items()}
    if scale_factor is not None:
        tensors[SCALE_FACTOR] = torch.tensor(scale_factor, dtype=torch.float64)
    metadata = {"format": "pt", "source": original.name, "source_sha256": sha256 or checksums.sha256_of(original)}
    with replacing(copy) as part:
        save_file(tensors, part, metadata)
        checksum = checksums.sha256_of(part)
    checksums.record(copy, checksum)


def _rounded(key: str, value: Tensor) -> Tensor:
    exact = value.ndim < 2 or not value.is_floating_point() or "class_embedding." in key
    return (value if exact else value.half()).contiguous()
