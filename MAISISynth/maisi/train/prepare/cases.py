"""One scan of a data set, and what its source says about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDS = 5


@dataclass(frozen=True)
class Case:
    """One image with what its data set says about it.

    Attributes:
        id: unique among all cases; becomes the stem of its files. dataset: name of the source.
        image: volume file. label: label map, or a folder with a mask file for each structure, or None.
        fold: cross-validation fold. modality: as the source tells it. weight: of sampling.
        names: value in the label map -> name; empty: the values are ids of a known numbering.
        spacing: mm that the source tells, or None. pair: id of the same image without its lesions, or None.
        pseudo: label map of organs that another program made, or a folder of masks, or None.
    """

    id: str
    dataset: str
    image: Path
    label: Path | None = None
    fold: int = 0
    modality: str = "ct"
    weight: float = 1.0
    names: dict[int, str] = field(default_factory=dict)
    spacing: tuple[float, ...] | None = None
    pair: str | None = None
    pseudo: Path | None = None

    @property
    def files(self) -> dict[str, Path | None]:
        """What has to be read, by role."""
        return {"image": self.image, "label": self.label, "pseudo": self.pseudo}

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        paths = {name: path and str(path) for name, path in self.files.items()}
        return asdict(self) | paths | {"names": {str(value): name for value, name in self.names.items()}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Case:
        """Inverse of :meth:`to_json`."""
        paths = {role: values[role] and Path(values[role]) for role in ("image", "label", "pseudo")}
        names = {int(value): name for value, name in values["names"].items()}
        spacing = values["spacing"] and tuple(values["spacing"])
        return cls(**{**values, **paths, "names": names, "spacing": spacing})
