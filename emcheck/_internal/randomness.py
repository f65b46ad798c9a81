"""Generators by name, and the global random states, which only foreign layers use."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

#: Seeds that show whether a call draws random numbers: what is drawn may be one bit.
SEEDS = 8


def stream(*key: object) -> torch.Generator:
    """Return a separate generator for each key: its draws depend on nothing drawn before."""
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def seed_torch(seed: int) -> None:
    """Seed torch's global generators; those of a device only once the device is in use.

    ``torch.manual_seed`` keeps a stack trace for devices that are not in use yet.
    """
    if torch.cuda.is_initialized():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, NumPy and Python inside the block and restore their states after it."""
    python, before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            seed_torch(seed % 2**63)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(before)  # noqa: NPY002
