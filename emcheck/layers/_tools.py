"""Small tools that several layers share; nothing here is public."""

from __future__ import annotations

import torch
from torch import Tensor

#: From this size on, batched LU in torch can be silently wrong on the CPU (pytorch issues
#: 142815 and 141358, oneMKL builds after ``set_num_threads``); matrices are taken one by one.
BATCHED_LU_LIMIT = 150


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


def slogdet_each(matrices: Tensor) -> Tensor:
    """``log|det|`` of matrices ``(F, n, n)`` as ``(F,)``; see ``BATCHED_LU_LIMIT``."""
    if matrices.shape[-1] < BATCHED_LU_LIMIT:
        return torch.linalg.slogdet(matrices).logabsdet
    return torch.stack([torch.linalg.slogdet(matrix).logabsdet for matrix in matrices])


def solve_and_slogdet_each(matrices: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """``matrices^-1 right (F, n, m)`` and ``log|det| (F,)`` from one LU each.

    Raises:
        ValueError: a pivot is exactly zero.
    """
    if matrices.shape[-1] < BATCHED_LU_LIMIT:
        return _solve_and_slogdet(matrices, right)
    pairs = [_solve_and_slogdet(*pair) for pair in zip(matrices, right, strict=True)]
    return torch.stack([x for x, _ in pairs]), torch.stack([logdet for _, logdet in pairs])


def _solve_and_slogdet(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    LU, pivots, failed = torch.linalg.lu_factor_ex(matrix)
    if bool((failed > 0).any()):
        raise ValueError("expected an invertible weight, got a singular one")
    logabsdet = torch.diagonal(LU, dim1=-2, dim2=-1).abs().log().sum(dim=-1)
    return torch.linalg.lu_solve(LU, pivots, right), logabsdet


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """``matrix^-1 right``; ``ValueError`` if a pivot is exactly zero."""
    try:
        return torch.linalg.solve(matrix, right)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ValueError("expected an invertible weight, got a singular one") from error


def triangular_solve(matrix: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    """``matrix^-1 right`` by substitution, ``(C, C)`` and ``(C, m)``."""
    return torch.linalg.solve_triangular(matrix, right, upper=upper)


def refuse_zero(values: Tensor, what: str) -> None:
    """Raise ``ValueError`` naming the first zero of ``values``: the layer is singular there."""
    values = values.detach()
    if not bool(values.all()):
        index = (values == 0).nonzero()[0].tolist()
        raise ValueError(
            f"expected a nonzero {what}, got 0 at index {index}: the layer is singular"
        )
