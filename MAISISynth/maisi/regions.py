"""Which part of the body a label map shows (FACTS 2.3): what ddpm models are told as top and bottom region."""

from __future__ import annotations

import numpy as np

from maisi.options import REGIONS

_MARKERS = {"head": (22, 120), "chest": (28, 29, 30, 31, 32), "abdomen": (1, 2, 3, 4, 5, 14), "pelvis": (93, 94)}


def find_regions(labels: np.ndarray) -> tuple[str, ...]:
    """The regions, of ``REGIONS`` and in its order, whose marker organs are in uint8 ``labels`` of any shape."""
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    return tuple(name for name in REGIONS if np.isin(_MARKERS[name], present).any())
