"""Matrix products of NumPy and torch on integers, where any rounding at all is a fault."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from emcheck.doctor.bounds import EXACT, Array
from emcheck.doctor.case import Case
from emcheck.doctor.matrices import sweep


def _case(label: str, found: Array, true: Array) -> Case:
    return Case(label, 0.0 if np.array_equal(found, true) else float("inf"), EXACT)


def matmul() -> Iterator[Case]:
    """``A B`` with integer entries below 2^20: partial sums stay below 2^53, hence exact.

    The reference is the int64 product, for which no BLAS is called. In float32 entries stay
    below 2^7 and sums below 2^24.
    """
    sizes = {"float64": 2**20, "float32": 2**7}
    for batch, n, dtype in sweep("float64", "float32"):
        A, B = np.random.default_rng(n).integers(-sizes[dtype], sizes[dtype], (2, batch, n, n))
        true, a, b = A @ B, A.astype(dtype), B.astype(dtype)
        label = f"{batch}x{n}x{n} {dtype}"
        yield _case(f"numpy {label}", a[0] @ b[0], true[0])
        yield _case(f"einsum {label}", np.einsum("ij,jk->ik", a[0], b[0], optimize=True), true[0])
        yield _case(f"torch {label}", (torch.tensor(a) @ torch.tensor(b)).numpy(), true)
