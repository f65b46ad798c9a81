"""The forward direction of masked convolutions: which code runs a chain, and its gradients.

| where                                                    | code                               |
|----------------------------------------------------------|------------------------------------|
| CPU, Numba, a batch of images small enough for the cache | ``forward_lanes``: one call        |
| otherwise                                                | torch's ``conv2d``, link by link   |

``torch.func``, forward-mode derivatives, the compiler and second derivatives get ``conv2d``,
whose operations torch knows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.solve.choose import attempt, compiled_module
from emcheck.solve.masks import Link, Mask, diagonal, live_taps
from emcheck.solve.transforms import (
    batched,
    differentiated,
    gradients_by_torch,
    transformed,
)


def convolve_masked(
    x: Tensor, weights: Sequence[Tensor], links: tuple[Link, ...], bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolve in a row, add ``bias (C,)``, and return ``z (B, C, H, W)`` and log-det per pixel.

    The latter is ``sum log|w[c,c,r,r]|`` over channels and links. Differentiable with respect
    to everything, any number of times. Dead taps of the weights ``(C, C, k, k)`` are not used.

    Cost: ``B H W C^2`` times the live taps of all links; the gradients twice that, and all
    links but the last once more.
    """
    inputs = (x, *weights) if bias is None else (x, *weights, bias)
    wanted = differentiated(*inputs)
    plan = plan_of(inputs, x, weights, links, len(links) + 2 if wanted else 2)
    if plan is None or _lanes() is None:
        return _by_conv2d(x, weights, links, bias)
    return attempt(
        "forward_lanes",
        lambda: (
            _Chain.apply(plan, x, bias, *weights)
            if wanted
            else _lanes().forward(plan, x, weights, bias)
        ),
        lambda: _by_conv2d(x, weights, links, bias),
    )


def _lanes() -> Any:
    return compiled_module("forward_lanes")


def plan_of(
    inputs: Sequence[Tensor],
    x: Tensor,
    weights: Sequence[Tensor],
    links: tuple[Link, ...],
    buffers: int,
) -> Any:
    """Return the plan of compiled code with so many buffers, None if torch has to do the work."""
    chains = compiled_for("chain_lanes", inputs)
    if chains is None:
        return None
    sizes = tuple(weight.shape[-1] for weight in weights)
    return chains.plan(tuple(x.shape), x.element_size(), sizes, links, buffers)


def compiled_for(name: str, inputs: Sequence[Tensor]) -> Any:
    """Return a module of compiled code if it may work on these tensors of one dtype, else None."""
    dtype = inputs[0].dtype
    if (dtype != torch.float32 and dtype != torch.float64) or transformed():
        return None
    if any(t.dtype != dtype or t.device.type != "cpu" or batched(t) for t in inputs):
        return None
    return compiled_module(name)


class _Chain(torch.autograd.Function):
    """The compiled chain, without ``setup_context``, which costs as much as a small convolution."""

    @staticmethod
    def forward(
        ctx: Any, plan: Any, x: Tensor, bias: Tensor | None, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.plan = plan
        ctx.save_for_backward(x, *weights)
        return _lanes().forward(plan, x, weights, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        of_bias = g.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        wanted = [ctx.needs_input_grad[1], *ctx.needs_input_grad[3:]]

        def by_torch() -> list[Tensor | None]:
            return gradients_by_torch(
                lambda inputs: _by_conv2d(inputs[0], inputs[1:], ctx.plan.links, None),
                [x, *weights],
                wanted,
                (g, slope),
            )

        def compiled() -> list[Tensor | None]:
            of_x, found = _lanes().backward(ctx.plan, x, weights, g, float(slope), wanted[0])
            return [of_x, *found]

        watched = torch.is_grad_enabled() or transformed() or batched(g) or batched(slope)
        known = not watched and _lanes() is not None
        of_x, *found = attempt("forward_lanes", compiled, by_torch) if known else by_torch()
        return None, of_x, of_bias, *found


def _by_conv2d(
    x: Tensor, weights: Sequence[Tensor], links: tuple[Link, ...], bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    for n, (weight, link) in enumerate(zip(weights, links, strict=True)):
        x = _one_by_conv2d(x, weight, link, bias if n + 1 == len(weights) else None)
    return x, torch.cat([diagonal(weight) for weight in weights]).abs().log().sum()


def _one_by_conv2d(x: Tensor, weight: Tensor, link: Link, bias: Tensor | None) -> Tensor:
    D, r = link.dilation, weight.shape[-1] // 2
    live = _live_as(weight, link)
    if link.mask == "raster":
        return F.conv2d(for_convolution(x), weight * live, bias, padding=r * D, dilation=D)
    # Only one quadrant is live: crop the kernel and pad the one side that it reaches.
    lead, trail = (0, r * D) if link.reverse else (r * D, 0)
    taps = slice(r, None) if link.reverse else slice(r + 1)
    quadrant = weight[:, :, taps, taps] * live[:, :, taps, taps]
    return F.conv2d(for_convolution(x, lead, trail), quadrant, bias, dilation=D)


def _live(channels: int, kernel_size: int, mask: Mask, reverse: bool) -> Tensor:
    """Return the live taps as floats: a product with booleans takes four times as long."""
    return live_taps(channels, kernel_size, mask, reverse).float()


_kept_live = functools.lru_cache(maxsize=64)(torch.inference_mode(False)(_live))


def _live_as(weight: Tensor, link: Link) -> Tensor:
    known = _live if torch.compiler.is_compiling() else _kept_live
    return known(weight.shape[0], weight.shape[-1], link.mask, link.reverse).to(weight)


def live_weight(weight: Tensor, link: Link) -> Tensor:
    """Return ``weight (C, C, k, k)`` with zeros at the dead taps of a link."""
    return weight * _live_as(weight, link)


#: From this many channels and numbers on, a float32 convolution on the CPU is faster channels last,
#: its conversion included: 0.64 to 0.9 of the time from 12 channels on, 1.4 with 3 or batch 1.
_WIDE, _MANY = 8, 2**14


def for_convolution(x: Tensor, lead: int = 0, trail: int = 0) -> Tensor:
    """Pad ``x (B, C, H, W)`` with zeros, in the layout in which ``conv2d`` is fastest.

    oneDNN converts other layouts in every pass, forward and backward.

    Args:
        x: images.
        lead: rows above and columns to the left.
        trail: rows below and columns to the right.
    """
    padding = (lead, trail, lead, trail)
    wide = x.shape[1] >= _WIDE and x.numel() >= _MANY
    if not wide or x.dtype != torch.float32 or x.device.type != "cpu":
        return F.pad(x, padding) if lead or trail else x
    # Not contiguous(memory_format=...), which vmap does not know.
    turned = x.permute(0, 2, 3, 1)
    # The padded copy is in the order of its axes: one copy both converts and pads.
    turned = F.pad(turned, (0, 0, *padding)) if lead or trail else turned.contiguous()
    return turned.permute(0, 3, 1, 2)
