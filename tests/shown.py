"""What confirms a finding without the kit: finite differences and draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor


@pytest.fixture
def reproducible() -> Iterator[None]:
    """Layers draw from the global generator: seeded inside, as it was outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def differences(
    f: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6
) -> npt.NDArray[np.float64]:
    """Jacobians ``(B, m, n)`` of ``f`` at every sample of ``x (B, *event)``, by differences.

    ``J[:, j] = (f(x + h e_j) - f(x - h e_j)) / 2h``, one call for all.
    """
    n = x[0].numel()
    found = []
    for sample in x:
        moves = step * torch.eye(n, dtype=x.dtype).reshape(n, *x.shape[1:])
        with torch.no_grad():
            image = f(torch.cat([sample + moves, sample - moves])).flatten(1).numpy()
        found.append((image[:n] - image[n:]).T / (2 * step))
    return np.stack(found)


def off(got: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """The largest difference of two arrays in float64."""
    return float(np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64)).max())
