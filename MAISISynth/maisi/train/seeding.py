"""Randomness that depends on the step alone, so that there is no state to keep for a resumed training."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_from(*key: int | str) -> int:
    """A seed of 63 bits that belongs to ``key``."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A generator on the CPU that belongs to ``key``."""
    return torch.Generator().manual_seed(seed_from(*key))


def seed_everything(*key: int | str) -> None:
    """Seed the global generators of torch (all devices), numpy and random with ``key``."""
    seed = seed_from(*key)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
