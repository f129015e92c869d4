"""Lesion classes that a test adds to the vocabulary, and how they are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from maisi import labels

_TABLES = ("LABELS", "LESIONS", "TUMORS", "_MAISI", "_BY_NAME")


@contextmanager
def forgotten_afterwards() -> Iterator[None]:
    """What is learned in the block is not known after it."""
    kept = {name: getattr(labels, name).copy() for name in _TABLES}
    yield
    for name, value in kept.items():
        now = getattr(labels, name)
        now.clear()
        now.extend(value) if isinstance(now, list) else now.update(value)
