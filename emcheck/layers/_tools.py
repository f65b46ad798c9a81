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
    return (q * sign).to(torch.get_default_dtype())


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


def slogdet_each(matrices: Tensor) -> Tensor:
    """``log|det|`` of matrices ``(F, n, n)`` as ``(F,)``; see ``BATCHED_LU_LIMIT``."""
    if matrices.shape[-1] < BATCHED_LU_LIMIT:
        return torch.linalg.slogdet(matrices).logabsdet
    return torch.stack([torch.linalg.slogdet(matrix).logabsdet for matrix in matrices])


def solve_each(matrices: Tensor, right: Tensor) -> Tensor:
    """``matrices^-1 right`` for ``(F, n, n)`` and ``(F, n, m)``; see ``BATCHED_LU_LIMIT``."""
    if matrices.shape[-1] < BATCHED_LU_LIMIT:
        return solve(matrices, right)
    pairs = zip(matrices, right, strict=True)
    return torch.stack([solve(matrix, columns) for matrix, columns in pairs])


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
    zeros = (values.detach() == 0).nonzero()
    if zeros.shape[0]:
        index = zeros[0].tolist()
        raise ValueError(
            f"expected a nonzero {what}, got 0 at index {index}: the layer is singular"
        )
