"""Small tools that several layers share; nothing here is public."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.solve.choose import attempt, runs_compiled


def random_orthogonal(n: int, generator: torch.Generator | None) -> Tensor:
    """Return a Haar-distributed orthogonal ``(n, n)``: QR of Gaussians with ``diag(R) > 0``.

    Reference: Mezzadri, How to generate random matrices from the classical compact groups, 2007,
    arXiv math-ph/0609050.
    """
    gaussian = torch.randn(n, n, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    sign = torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q)
    return (q * sign).to(torch.get_default_dtype()).contiguous()  # LAPACK returns it by columns


def per_sample(value: Tensor, x: Tensor) -> Tensor:
    """Return a scalar log-det as ``(B,)``, one entry for each sample of ``x (B, ...)``."""
    return value.expand(x.shape[0])


def pixels_last(x: Tensor) -> Tensor:
    """Return ``(B, C, H, W)`` as the matrix ``(C, B*H*W)`` whose columns are the pixels."""
    return x.transpose(0, 1).flatten(1)


def pixels_back(columns: Tensor, like: Tensor) -> Tensor:
    """Return the matrix ``(C, B*H*W)`` as ``(B, C, H, W)``, the shape of ``like``."""
    B, C, H, W = like.shape
    return columns.reshape(C, B, H, W).transpose(0, 1).contiguous()


def mix_channels(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply ``matrix (C, C)`` to every pixel of ``x (B, C, H, W)``, without copies."""
    # Not matmul: where the matrix is a parameter, it transposes and copies x.
    return torch.bmm(matrix.expand(x.shape[0], -1, -1), x.flatten(2)).reshape(x.shape)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Return ``matrix^-1 right``; raise ``ValueError`` if a pivot is exactly zero."""
    try:
        return torch.linalg.solve(matrix, right)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ValueError("expected an invertible weight, got a singular one") from error


def solve_pixels(factors: Tensor, order: list[int], z: Tensor) -> Tensor | None:
    """Solve ``L U x = z[:, order]`` in every pixel; None where compiled code cannot run.

    ``factors (C, C)`` hold ``U`` and, below its diagonal, the unit triangle ``L``.
    """
    if not runs_compiled("pixels", factors, z):
        return None
    from emcheck.solve import pixels  # imports Numba

    return attempt("pixels", lambda: pixels.solve(factors, order, z), lambda: None)


def solve_by_lu(matrix: Tensor, z: Tensor) -> tuple[Tensor, Tensor] | None:
    """Solve ``matrix x = z`` in every pixel; return ``x`` and the pivots ``(C,)`` of one LU.

    None where compiled code cannot run, or a pivot is zero.
    """
    if not runs_compiled("pixels", matrix, z):
        return None
    factors, exchanges = torch.linalg.lu_factor_ex(matrix)[:2]
    pivots = factors.diagonal()
    x = solve_pixels(factors, _row_order(exchanges), z) if bool(pivots.all()) else None
    return None if x is None else (x, pivots)


def _row_order(exchanges: Tensor) -> list[int]:
    """Return which row ``torch.linalg.lu_factor`` put in each place, from its exchanges."""
    order = list(range(len(exchanges)))
    for place, other in enumerate(exchanges.tolist()):
        order[place], order[other - 1] = order[other - 1], order[place]
    return order


#: Columns of one triangular solve on a GPU. Measured on an H200, torch 2.11, C = 12: half a
#: millisecond for 2^17 of them, five seconds for 2^19.
_COLUMNS_ON_A_GPU = 2**17


def triangular_solve(
    matrix: Tensor, right: Tensor, *, upper: bool, columns: int | None = None
) -> Tensor:
    """Substitute for ``matrix^-1 right``, ``(C, C)`` and ``(C, m)``, ``columns`` at a time."""
    if columns is None and right.device.type == "cuda":
        columns = _COLUMNS_ON_A_GPU
    if columns is None or right.shape[1] <= columns:
        return torch.linalg.solve_triangular(matrix, right, upper=upper)
    parts = right.split(columns, dim=1)
    return torch.cat([torch.linalg.solve_triangular(matrix, p, upper=upper) for p in parts], dim=1)
