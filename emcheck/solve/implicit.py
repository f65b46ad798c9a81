"""Gradients through an exact inverse by solving the adjoint system, not by unrolling it.

With ``z = A(w) x``: ``dx = A^-1 (dz - dA x)`` forward, and backward ``g_z = A^-T g_x``,
``g_w = -(correlation of x with g_z)``. ``A^T`` is a masked convolution too, with channels
swapped and both space axes flipped, so the same solver serves all three systems.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.solve.masks import Mask
from emcheck.solve.wavefront import substitute


class MaskedSolve(torch.autograd.Function):
    """``x = A(weight)^-1 z``; differentiable any number of times, forward and backward."""

    @staticmethod
    def forward(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
        return substitute(weight, z, mask, reverse, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight, _, ctx.mask, ctx.reverse, ctx.dilation = inputs
        ctx.save_for_backward(weight, output)
        ctx.save_for_forward(weight, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, x = ctx.saved_tensors
        adjoint = weight.transpose(0, 1).flip(2, 3)
        grad_z = MaskedSolve.apply(adjoint, grad, ctx.mask, not ctx.reverse, ctx.dilation)
        grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_weight = -correlate(x, grad_z, weight.shape[-1], ctx.dilation)
        return grad_weight, grad_z, None, None, None

    @staticmethod
    def jvp(ctx: Any, dweight: Tensor | None, dz: Tensor | None, *_: Any) -> Tensor:
        weight, x = ctx.saved_tensors
        right = torch.zeros_like(x) if dz is None else dz
        if dweight is not None:
            padding = weight.shape[-1] // 2 * ctx.dilation
            right = right - F.conv2d(x, dweight, padding=padding, dilation=ctx.dilation)
        solved: Tensor = MaskedSolve.apply(weight, right, ctx.mask, ctx.reverse, ctx.dilation)
        return solved

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        weight: Tensor,
        z: Tensor,
        mask: Mask,
        reverse: bool,
        dilation: int,
    ) -> tuple[Tensor, int]:
        if in_dims[0] is None and in_dims[1] is not None:
            stacked = z.movedim(in_dims[1], 0)
            flat = stacked.reshape(-1, *stacked.shape[2:])
            x = MaskedSolve.apply(weight, flat, mask, reverse, dilation)
            return x.reshape(stacked.shape), 0
        rows = []
        for n in range(info.batch_size):
            w = weight if in_dims[0] is None else weight.select(in_dims[0], n)
            right = z if in_dims[1] is None else z.select(in_dims[1], n)
            rows.append(MaskedSolve.apply(w, right, mask, reverse, dilation))
        return torch.stack(rows), 0


def correlate(x: Tensor, g: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """``d<g, conv(w, x)>/dw``: ``out[o,c,a,b] = sum_{n,i,j} g[n,o,i,j] x[n,c,i+..,j+..]``."""
    r = kernel_size // 2 * dilation
    H, W = x.shape[-2:]
    padded = F.pad(x, (r, r, r, r))
    rows = []
    for a in range(kernel_size):
        for b in range(kernel_size):
            i, j = a * dilation, b * dilation
            rows.append(torch.einsum("noij,ncij->oc", g, padded[..., i : i + H, j : j + W]))
    O, C = g.shape[1], x.shape[1]
    return torch.stack(rows, dim=-1).reshape(O, C, kernel_size, kernel_size)


def solve_masked(weight: Tensor, z: Tensor, *, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """The ``x (B, C, H, W)`` with ``conv(weight, x) = z`` for a masked convolution.

    ``weight (C, C, k, k)`` has its dead taps set to zero and a nonzero diagonal in its centre
    tap. Differentiable with respect to ``weight`` and ``z``.
    """
    x: Tensor = MaskedSolve.apply(weight, z, mask, reverse, dilation)
    return x
