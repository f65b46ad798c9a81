"""Self-tests of the fallback: torch's factorisations that are sound where batched LU is not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from emcheck.doctor import bounds
from emcheck.doctor.bounds import NORMWISE, Array
from emcheck.doctor.canaries.reference import exactly_known, logdet_case
from emcheck.doctor.case import Case
from emcheck.doctor.matrices import gaussian, sweep


def single_lu() -> Iterator[Case]:
    """slogdet, solve and inv of one matrix at a time, against exact log-dets and residuals."""
    for known, condition in exactly_known():
        sign, logdet = torch.linalg.slogdet(torch.tensor(known.A))
        yield logdet_case("slogdet", float(sign), float(logdet), known, condition)
    for real in (True, False):
        dtypes = ("float64", "float32") if real else ("complex128", "complex64")
        for _, n, dtype in sweep(*dtypes):
            u, label = bounds.unit_roundoff(dtype), f"n={n} {dtype}"
            A, B = gaussian(2, n, seed=n, dtype=dtype)
            a, b = torch.tensor(A), torch.tensor(B[:, :4])
            wide = A.astype(np.result_type(A, np.float64))
            X = torch.linalg.solve(a, b).numpy()
            yield Case(f"solve {label}", bounds.solve_ratio(wide, X, B[:, :4], u), NORMWISE)
            X = torch.linalg.inv(a).numpy()
            yield Case(f"inv {label}", bounds.inverse_ratio(wide, X, u), NORMWISE)


def _triangle(A: Array, upper: bool) -> Array:
    """Set a unit diagonal and divide the rest by n, so that solutions do not grow like 2^n."""
    strict = np.triu(A, 1) if upper else np.tril(A, -1)
    n = A.shape[-1]
    return np.asarray(strict / n + np.eye(n, dtype=A.dtype))


def triangular() -> Iterator[Case]:
    """solve_triangular, single and batched, lower and upper, unit diagonal or not."""
    for batch, n, dtype in (*sweep("float64", "float32"), (1, 192, "float64")):
        u, label = bounds.unit_roundoff(dtype), f"{batch}x{n}x{n} {dtype}"
        A, B = (gaussian(batch, n, seed, dtype) for seed in (n, n + 1))
        for upper, unit in itertools.product((False, True), repeat=2):
            T, b = _triangle(A, upper), torch.tensor(B[..., :4])
            solve = torch.linalg.solve_triangular
            X = solve(torch.tensor(T), b, upper=upper, unitriangular=unit).numpy()
            cases = zip(T.astype(float), X, B[..., :4], strict=True)
            ratio = max(bounds.solve_ratio(*case, u) for case in cases)
            kind = ("upper" if upper else "lower") + (" unit" if unit else "")
            yield Case(f"{kind} {label}", ratio, NORMWISE)


def qr() -> Iterator[Case]:
    """QR, single and batched: ``A = Q R`` and ``Q^T Q = I``."""
    for batch, n, dtype in sweep("float64", "float32"):
        u, label = bounds.unit_roundoff(dtype), f"{batch}x{n}x{n} {dtype}"
        A = gaussian(batch, n, n, dtype)
        for matrices in (A, A[0]):
            Q, R = torch.linalg.qr(torch.tensor(matrices))
            Qs, Rs = (F.reshape(-1, n, n).double().numpy() for F in (Q, R))
            factors = zip(A.astype(float), Qs, Rs, strict=matrices is A)
            ratio = max(bounds.product_ratio(a, q @ r, u) for a, q, r in factors)
            ratio = max(ratio, *(bounds.orthogonality_ratio(q, u) for q in Qs))
            which = "batched" if matrices is A else "single"
            yield Case(f"{which} {label}", ratio, NORMWISE)
