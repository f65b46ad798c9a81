"""torch's factorisations that are sound where batched LU is not: canaries of the fallback."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from emcheck.doctor import bounds
from emcheck.doctor.bounds import NORMWISE
from emcheck.doctor.canaries.reference import exactly_known, logdet_case
from emcheck.doctor.case import Case
from emcheck.doctor.matrices import gaussian

SHAPES = ((4, 192), (2, 150), (8, 256), (8, 48), (1, 4))


def single_lu() -> Iterator[Case]:
    """slogdet, solve and inv of one matrix at a time, against exact log-dets and residuals."""
    for known, condition in exactly_known():
        sign, logdet = torch.linalg.slogdet(torch.tensor(known.A))
        yield logdet_case("slogdet", float(sign), float(logdet), known, condition)
    for _, n in SHAPES:
        for dtype in ("float64", "float32", "complex128", "complex64"):
            u, label = bounds.unit_roundoff(dtype), f"n={n} {dtype}"
            A, B = gaussian(2, n, seed=n, dtype=dtype)
            a, b = torch.tensor(A), torch.tensor(B[:, :4])
            wide = A.astype(np.result_type(A, np.float64))
            X = torch.linalg.solve(a, b).numpy()
            yield Case(f"solve {label}", bounds.solve_ratio(wide, X, B[:, :4], u), NORMWISE)
            X = torch.linalg.inv(a).numpy()
            yield Case(f"inv {label}", bounds.inverse_ratio(wide, X, u), NORMWISE)


def triangular() -> Iterator[Case]:
    """solve_triangular, single and batched, lower and upper, unit diagonal or not."""
    for batch, n in SHAPES:
        for dtype in ("float64", "float32"):
            A, B = (gaussian(batch, n, seed, dtype) for seed in (n, n + 1))
            b = torch.tensor(B[..., :4])
            for upper in (False, True):
                # Small off-diagonal entries keep the solution from growing like 2^n.
                T = (np.triu if upper else np.tril)(A / n, 1 if upper else -1)
                T = T + np.eye(n, dtype=dtype)
                for unit in (False, True):
                    X = torch.linalg.solve_triangular(
                        torch.tensor(T), b, upper=upper, unitriangular=unit
                    ).numpy()
                    cases = zip(T.astype(float), X, B[..., :4], strict=True)
                    u = bounds.unit_roundoff(dtype)
                    ratio = max(bounds.solve_ratio(*case, u) for case in cases)
                    kind = ("upper" if upper else "lower") + (" unit" if unit else "")
                    yield Case(f"{kind} {batch}x{n}x{n} {dtype}", ratio, NORMWISE)


def qr() -> Iterator[Case]:
    """QR, single and batched: ``A = Q R`` and ``Q^T Q = I``."""
    for batch, n in SHAPES:
        for dtype in ("float64", "float32"):
            u, label = bounds.unit_roundoff(dtype), f"{batch}x{n}x{n} {dtype}"
            A = gaussian(batch, n, n, dtype)
            for Qs, Rs, which in (
                (*torch.linalg.qr(torch.tensor(A)), "batched"),
                (*torch.linalg.qr(torch.tensor(A[:1])[0]), "single"),
            ):
                Q, R = (F.reshape(-1, n, n).double().numpy() for F in (Qs, Rs))
                pairs = list(zip(A.astype(float), Q, R, strict=False))
                ratio = max(bounds.product_ratio(a, q @ r, u) for a, q, r in pairs)
                ratio = max(ratio, *(bounds.orthogonality_ratio(q, u) for q in Q))
                yield Case(f"{which} {label}", ratio, NORMWISE)
