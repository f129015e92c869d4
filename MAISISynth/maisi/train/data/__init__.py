"""Prepared data as batches. The settings alone need no torch, so the rest is imported when it is asked for."""

from __future__ import annotations

from typing import Any

_LAZY = ("batches", "held_out")


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maisi.train.data import loading

    return getattr(loading, name)
