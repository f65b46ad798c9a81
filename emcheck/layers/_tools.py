"""Small tools that several layers share; nothing here is public."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.solve.choose import runs_compiled


def random_orthogonal(n: int, generator: torch.Generator | None) -> Tensor:
    """A Haar-distributed orthogonal ``(n, n)`` matrix: QR of Gaussians with ``diag(R) > 0``.

    Reference: Mezzadri, How to generate random matrices from the classical compact groups,
    2007, arXiv math-ph/0609050.
    """
    gaussian = torch.randn(n, n, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    sign = torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q)
    return (q * sign).to(torch.get_default_dtype()).contiguous()  # LAPACK's is by columns


def per_sample(value: Tensor, x: Tensor) -> Tensor:
    """A scalar log-det as ``(B,)``, one entry for each sample of ``x (B, ...)``."""
    return value.expand(x.shape[0])


def pixels_last(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` to the matrix ``(C, B*H*W)`` whose columns are the pixels."""
    return x.transpose(0, 1).flatten(1)


def pixels_back(columns: Tensor, like: Tensor) -> Tensor:
    """The matrix ``(C, B*H*W)`` back to ``(B, C, H, W)``, the shape of ``like``."""
    B, C, H, W = like.shape
    return columns.reshape(C, B, H, W).transpose(0, 1).contiguous()


def mix_channels(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix (C, C)`` applied to every pixel of ``x (B, C, H, W)``, without copies."""
    # Not matmul, which turns x around and copies it where the matrix is a parameter.
    return torch.bmm(matrix.expand(x.shape[0], -1, -1), x.flatten(2)).reshape(x.shape)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """``matrix^-1 right``; ``ValueError`` if a pivot is exactly zero."""
    try:
        return torch.linalg.solve(matrix, right)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ValueError("expected an invertible weight, got a singular one") from error


def solve_pixels(factors: Tensor, order: list[int], z: Tensor) -> Tensor | None:
    """``x`` with ``L U x = z[:, order]`` in every pixel; None where compiled code cannot run.

    ``factors (C, C)`` hold ``U`` and, below its diagonal, the unit triangle ``L``.
    """
    if not runs_compiled("pixels", factors, z):
        return None
    from emcheck.solve import pixels  # imports Numba

    return pixels.solve(factors, order, z)


def solve_by_lu(matrix: Tensor, z: Tensor) -> tuple[Tensor, Tensor] | None:
    """``x`` with ``matrix x = z`` in every pixel, and the pivots ``(C,)`` of one LU.

    None where compiled code cannot run, or a pivot is zero.
    """
    if not runs_compiled("pixels", matrix, z):
        return None
    factors, exchanges = torch.linalg.lu_factor_ex(matrix)[:2]
    pivots = factors.diagonal()
    x = solve_pixels(factors, _row_order(exchanges), z) if bool(pivots.all()) else None
    return None if x is None else (x, pivots)


def _row_order(exchanges: Tensor) -> list[int]:
    """The rows that ``torch.linalg.lu_factor`` has put in each place, from its exchanges."""
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
    """``matrix^-1 right`` by substitution, ``(C, C)`` and ``(C, m)``, so many columns at once."""
    if columns is None and right.device.type == "cuda":
        columns = _COLUMNS_ON_A_GPU
    if columns is None or right.shape[1] <= columns:
        return torch.linalg.solve_triangular(matrix, right, upper=upper)
    parts = right.split(columns, dim=1)
    return torch.cat([torch.linalg.solve_triangular(matrix, p, upper=upper) for p in parts], dim=1)
