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
from torch.nn.grad import conv2d_weight

from emcheck.solve.choose import choose
from emcheck.solve.masks import Mask, validate_mask
from emcheck.solve.transforms import watched

#: Written out, since torch 2.4 cannot read annotations that are strings.
_SCHEMA = "(Tensor weight, Tensor z, str mask, bool reverse, int dilation) -> Tensor"


@torch.library.custom_op("emcheck::substitute", mutates_args=(), schema=_SCHEMA)
def _opaque(weight: Tensor, z: Tensor, mask: str, reverse: bool, dilation: int) -> Tensor:
    """Call the chosen solver as one operation, which ``torch.compile`` does not look into."""
    return choose(z)(weight, z, validate_mask(mask), reverse, dilation)


@_opaque.register_fake
def _(weight: Tensor, z: Tensor, mask: str, reverse: bool, dilation: int) -> Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


class MaskedSolve(torch.autograd.Function):
    """``x = A(weight)^-1 z``; differentiable any number of times, forward and backward."""

    @staticmethod
    def forward(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
        if torch.compiler.is_compiling():
            return _opaque(weight, z, mask, reverse, dilation)
        return choose(z)(weight, z, mask, reverse, dilation)

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
            live = weight.shape[-1], ctx.mask, ctx.reverse, ctx.dilation
            grad_weight = -_weight_gradient(x, grad_z, *live)
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


def _weight_gradient(
    x: Tensor, g: Tensor, kernel_size: int, mask: Mask, reverse: bool, dilation: int
) -> Tensor:
    """Return ``d<g, conv(w, x)>/dw (C, C, k, k)`` at taps that may be live, zero elsewhere."""
    C, r = x.shape[1], kernel_size // 2
    if mask == "raster":
        size, padding = (C, C, kernel_size, kernel_size), r * dilation
        return conv2d_weight(x, size, g, padding=padding, dilation=dilation)
    lead, trail = (0, r * dilation) if reverse else (r * dilation, 0)
    padded, size = F.pad(x, (lead, trail, lead, trail)), (C, C, r + 1, r + 1)
    quadrant = conv2d_weight(padded, size, g, dilation=dilation)
    lead, trail = (r, 0) if reverse else (0, r)
    return F.pad(quadrant, (lead, trail, lead, trail))


def solve_masked(weight: Tensor, z: Tensor, *, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """Return the ``x (B, C, H, W)`` with ``conv(weight, x) = z`` for a masked convolution.

    ``weight (C, C, k, k)`` has its dead taps set to zero and a nonzero diagonal in its centre tap.
    Differentiable with respect to ``weight`` and ``z``.

    Raises:
        ValueError: dtypes that differ: the compiled kernels read the memory as one of them.
    """
    if weight.dtype != z.dtype:
        raise ValueError(f"expected z in the weight's {weight.dtype}, got {z.dtype}")
    if not watched(weight, z):
        return choose(z)(weight, z, mask, reverse, dilation)
    x: Tensor = MaskedSolve.apply(weight, z, mask, reverse, dilation)
    return x
