"""torch's batched LU, where the known fault lives, against NumPy matrix by matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from emcheck.doctor import bounds
from emcheck.doctor.bounds import NORMWISE, Array
from emcheck.doctor.case import Case
from emcheck.doctor.matrices import SHAPES, gaussian, sweep

#: One C x C matrix for each frequency of an image of 17 x 17 and of 16 x 32.
FREQUENCIES = ((289, 12), (512, 3))


def _wide(A: Array) -> Array:
    return A.astype(np.result_type(A, np.float64))


def _references(A: Array) -> list[tuple[complex, float, float]]:
    """Return sign (or phase), log-det and ``kappa_F`` by NumPy in double precision."""
    return [
        (complex(sign), float(logdet), bounds.condition(matrix, np.linalg.inv(matrix)))
        for matrix, (sign, logdet) in ((M, np.linalg.slogdet(M)) for M in _wide(A))
    ]


def _logdets(label: str, A: Array, logdets: Array) -> Case:
    """Compare the log-dets of a batch, ``log|det| + i phase``: one bound holds for both parts."""
    u, n = bounds.unit_roundoff(A.dtype), A.shape[-1]
    ratio = 0.0
    for found, (sign, true, condition) in zip(logdets, _references(A), strict=True):
        turn = np.angle(np.exp(1j * (found.imag - np.angle(sign))))
        for error in (abs(found.real - true), abs(turn)):
            ratio = max(ratio, bounds.logdet_ratio(error, true, condition, u))
    return Case(f"{label} {len(A)}x{n}x{n} {A.dtype}", ratio, NORMWISE)


def _solved(label: str, A: Array, X: Array, B: Array) -> Case:
    u, n = bounds.unit_roundoff(A.dtype), A.shape[-1]
    ratio = max(bounds.solve_ratio(*case, u) for case in zip(_wide(A), X, B, strict=True))
    return Case(f"{label} {len(A)}x{n}x{n} {A.dtype}", ratio, NORMWISE)


def _inverted(label: str, A: Array, X: Array) -> Case:
    u, n = bounds.unit_roundoff(A.dtype), A.shape[-1]
    ratio = max(bounds.inverse_ratio(a, x, u) for a, x in zip(_wide(A), X, strict=True))
    return Case(f"{label} {len(A)}x{n}x{n} {A.dtype}", ratio, NORMWISE)


def batched_slogdet() -> Iterator[Case]:
    """slogdet, lu_factor and lu_solve of a batch of real matrices."""
    for batch, n, dtype in sweep("float64", "float32"):
        A = gaussian(batch, n, n, dtype)
        sign, logdet = torch.linalg.slogdet(torch.tensor(A))
        yield _logdets("slogdet", A, logdet.numpy() + 1j * np.angle(sign.numpy()))
        LU, pivots = torch.linalg.lu_factor(torch.tensor(A))
        X = torch.linalg.lu_solve(LU, pivots, torch.eye(n, dtype=LU.dtype)).numpy()
        yield _inverted("lu_factor, lu_solve", A, X)


def batched_solve() -> Iterator[Case]:
    """solve and inv of a batch of real matrices."""
    for batch, n, dtype in sweep("float64", "float32"):
        A, B = gaussian(batch, n, n, dtype), gaussian(batch, n, n + 1, dtype)[..., :4]
        X = torch.linalg.solve(torch.tensor(A), torch.tensor(B)).numpy()
        yield _solved("solve", A, X, B)
        yield _inverted("inv", A, torch.linalg.inv(torch.tensor(A)).numpy())


def batched_complex() -> Iterator[Case]:
    """slogdet and solve of complex matrices: few large ones, then many small ones.

    The many small ones are those of the periodic layers, one C x C matrix for each frequency.
    """
    for batch, n, dtype in sweep("complex128", "complex64", FREQUENCIES):
        A, B = gaussian(batch, n, n, dtype), gaussian(batch, n, n + 1, dtype)[..., :2]
        sign, logdet = torch.linalg.slogdet(torch.tensor(A))
        yield _logdets("slogdet", A, logdet.numpy() + 1j * np.angle(sign.numpy()))
        X = torch.linalg.solve(torch.tensor(A), torch.tensor(B)).numpy()
        yield _solved("solve", A, X, B)


def batched_gradient() -> Iterator[Case]:
    """``d log|det A| / dA = A^-T`` of a batch, by backward and under vmap."""
    for batch, n in SHAPES:
        A = gaussian(batch, n, n)
        a = torch.tensor(A, requires_grad=True)
        (gradient,) = torch.autograd.grad(torch.linalg.slogdet(a).logabsdet.sum(), a)
        yield _inverted("backward", A, gradient.mT.numpy())
        mapped = torch.func.vmap(torch.func.grad(lambda m: torch.linalg.slogdet(m).logabsdet))
        yield _inverted("vmap", A, mapped(torch.tensor(A)).mT.numpy())
