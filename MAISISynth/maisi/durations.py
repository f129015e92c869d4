"""Times in words. Standard library only."""

from __future__ import annotations

import itertools


def duration(seconds: float) -> str:
    """In words, such as "2 d 3 h" or "45 s"."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, length), (next_name, next_length) in itertools.pairwise(units):
        if seconds >= length:
            return f"{int(seconds // length)} {name} {int(seconds % length // next_length)} {next_name}"
    return f"{int(seconds)} s"
