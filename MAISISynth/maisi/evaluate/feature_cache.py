"""Features of the slices of image files, computed once: the cache is also how several processes share the work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from maisi.devices import resolve_device
from maisi.errors import InputError, WeightsError
from maisi.evaluate.slices import PLANES, SliceSettings, batches, stacks
from maisi.files import read_image, whole_file
from maisi.models.checkpoint import load_safely
from maisi.models.checksums import sha256_of
from maisi.models.features import EFFICIENTNET, FeatureNetwork, load_features
from maisi.request import array_sha256

DEFAULT_CACHE = Path.home() / ".maisi" / "features"
_VERSION = 1  # of the way from a file to its features
_HEADERS_ONLY = (".nhdr", ".mhd")  # their voxels stand in another file
Planes = dict[str, Tensor]  # plane -> [slices, C] float32


@dataclass(frozen=True)
class Extractor:
    """How features are computed.

    Attributes:
        network: see :func:`maisi.models.features.load_features`. settings: which slices.
        cache: folder of what was computed. device: as in Options. batch: slices at once; decides about memory only.
    """

    network: str = EFFICIENTNET
    settings: SliceSettings = field(default_factory=SliceSettings)
    cache: Path = DEFAULT_CACHE
    device: str = "auto"
    batch: int = 32

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"The number of slices at once must be at least 1, got {self.batch}.")

    @cached_property
    def loaded(self) -> FeatureNetwork:
        """The network, on its device."""
        return load_features(self.network).to(resolve_device(self.device))

    def extract(self, path: Path) -> None:
        """Compute the features of an image file into the cache, if they are not there.

        Raises:
            InputError: the file or the network cannot be used, or the cache cannot be written.
        """
        place = self.place(path)
        if self._read(place) is not None:
            return
        features = self._compute(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The cache {place.parent} cannot be written ({error.strerror}); choose another."
            ) from error
        with whole_file(place) as part:
            save_file(features, part, {"file": path.name, "network": self.loaded.name})

    def features(self, path: Path) -> Planes:
        """The features of an image file, from the cache where they are there. Raises what :meth:`extract` raises."""
        self.extract(path)
        return self._read(self.place(path))

    def place(self, path: Path) -> Path:
        """Where the features of an image file stand: by its content, the network's weights and the settings."""
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        status = path.stat()
        content = _content(path, status.st_size, status.st_mtime_ns)
        how = {"settings": self.settings.to_json(), "network": self.loaded.checksum, "version": _VERSION}
        key = hashlib.sha256(f"{content}{json.dumps(how, sort_keys=True)}".encode()).hexdigest()
        return self.cache / f"{key}.safetensors"

    @torch.inference_mode()
    def _compute(self, path: Path) -> Planes:
        network, found = self.loaded, {}
        device = resolve_device(self.device)
        for plane, stack in stacks(read_image(path), self.settings).items():
            parts = (torch.from_numpy(part.copy())[:, None].to(device) for part in batches(stack, self.batch))
            found[plane] = torch.cat([network(part).cpu() for part in parts])
        return found

    def _read(self, place: Path) -> Planes | None:
        """What the cache has; None where it has nothing, or something damaged, which is then computed anew."""
        try:
            found = load_safely(place)
        except (WeightsError, OSError):
            return None
        return found if found.keys() == PLANES.keys() else None

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        fields = {"network": self.network, "cache": str(self.cache), "device": self.device, "batch": self.batch}
        return {**fields, "settings": self.settings.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Extractor:
        """Inverse of :meth:`to_json`."""
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in values["settings"].items()}
        return cls(**{**values, "cache": Path(values["cache"]), "settings": SliceSettings(**settings)})


@lru_cache(maxsize=100_000)
def _content(path: Path, size: int, mtime_ns: int) -> str:
    """Checksum of what is in an image file; a file that did not change is read once."""
    header_only = path.suffix.lower() in _HEADERS_ONLY
    return sha256_of(path) + (array_sha256(read_image(path).array) if header_only else "")


def extract_all(
    extractor: Extractor,
    files: Sequence[Path],
    processes: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> None:
    """Fill the cache with the features of all ``files``, in one process or several.

    Raises:
        InputError: a file or the network cannot be used. MaisiError: a process ended too early.
    """
    missing = [path for path in files if not extractor.place(path).is_file()]
    if processes > 1 and len(missing) > 1:
        from maisi.evaluate.launch import run_processes

        run_processes(extractor, missing, min(processes, len(missing)), progress)
    for done, path in enumerate(missing, 1):  # also what another process left out
        extractor.extract(path)
        progress("features", done, len(missing))
