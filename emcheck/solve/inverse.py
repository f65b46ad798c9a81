"""Masked convolutions backward: which code inverts a chain of them, and its gradients.

| where                                                    | code                               |
|----------------------------------------------------------|------------------------------------|
| CPU, Numba, a batch of images small enough for the cache | ``inverse_lanes``: one call        |
| CPU, Numba, no gradient wanted                           | ``lanes``, link by link            |
| otherwise                                                | ``solve_masked``, link by link     |

``torch.func``, forward-mode derivatives, the compiler and second derivatives get
``solve_masked``, whose derivatives torch knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from emcheck.contract import refuse_zero
from emcheck.solve.choose import attempt, compiled_module
from emcheck.solve.forward import compiled_for, live_weight, plan_of
from emcheck.solve.implicit import solve_masked
from emcheck.solve.masks import Link, diagonal
from emcheck.solve.transforms import batched, differentiated, gradients_by_torch, transformed


def invert_masked(
    z: Tensor, weights: Sequence[Tensor], links: tuple[Link, ...], bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``x`` with ``convolve_masked(x, weights, links, bias)[0] = z``, and the log-det forward.

    ``z`` and ``x`` are ``(B, C, H, W)``; the log-det is that of one pixel,
    ``sum log|w[c,c,r,r]|`` over channels and links. Differentiable with respect to everything, any
    number of times. Dead taps of the weights ``(C, C, k, k)`` are not used.

    Cost: that of ``convolve_masked``.

    Raises:
        ValueError: a zero on the diagonal of a centre tap.
    """
    inputs = (z, *weights) if bias is None else (z, *weights, bias)
    wanted = differentiated(*inputs)
    plan = plan_of(inputs, z, weights, links, len(links) + 1 if wanted else 1)

    def link_by_link() -> tuple[Tensor, Tensor]:
        return _link_by_link(z, weights, links, bias)

    if plan is None or _lanes() is None:
        lanes = None if wanted else compiled_for("lanes", inputs)
        if lanes is None:
            return link_by_link()
        return attempt("lanes", lambda: _by_lanes(lanes, z, weights, links, bias), link_by_link)
    return attempt(
        "inverse_lanes",
        lambda: (
            _Chain.apply(plan, z, bias, *weights) if wanted else _by_chain(plan, z, bias, weights)
        ),
        link_by_link,
    )


def _lanes() -> Any:
    return compiled_module("inverse_lanes")


def _by_chain(
    plan: Any, z: Tensor, bias: Tensor | None, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    triangles = _lanes().packed_triangles(plan, weights, False)
    _refuse_zeros(triangles[2], weights)
    return _lanes().inverse(plan, z, triangles, bias), z.new_tensor(triangles[2])


def _refuse_zeros(logabsdet: float | Tensor, weights: Sequence[Tensor]) -> None:
    if not math.isfinite(logabsdet):
        for weight in weights:
            refuse_zero(diagonal(weight), "diagonal of the centre tap")


class _Chain(torch.autograd.Function):
    """The gradient of ``z`` solves the adjoint chain; that of the weights follows from it."""

    @staticmethod
    def forward(
        ctx: Any, plan: Any, z: Tensor, bias: Tensor | None, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, logabsdet = _by_chain(plan, z, bias, weights)
        ctx.plan = plan
        ctx.save_for_backward(z, bias, x, *weights)
        return x, logabsdet

    @staticmethod
    def backward(ctx: Any, g: Tensor, slope: Tensor) -> tuple[Tensor | None, ...]:
        z, bias, x, *weights = ctx.saved_tensors

        def by_torch() -> tuple[Tensor | None, ...]:
            given = [z, *weights] if bias is None else [z, *weights, bias]
            wanted = [ctx.needs_input_grad[1], *ctx.needs_input_grad[3:]]
            wanted += [] if bias is None else [ctx.needs_input_grad[2]]

            def chain(inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
                rest = inputs[1 : 1 + len(weights)]
                last = None if bias is None else inputs[-1]
                return _link_by_link(inputs[0], rest, ctx.plan.links, last)

            of_z, *found = gradients_by_torch(chain, given, wanted, (g, slope))
            of_bias = None if bias is None else found.pop()
            return None, of_z, of_bias, *found

        def compiled() -> tuple[Tensor | None, ...]:
            of_z, found = _lanes().backward(ctx.plan, x, weights, g, float(slope))
            of_bias = -of_z.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
            return None, of_z, of_bias, *found

        watched = torch.is_grad_enabled() or transformed() or batched(g) or batched(slope)
        known = not watched and _lanes() is not None
        return attempt("inverse_lanes", compiled, by_torch) if known else by_torch()


def _by_lanes(
    lanes: Any,
    z: Tensor,
    weights: Sequence[Tensor],
    links: tuple[Link, ...],
    bias: Tensor | None,
) -> tuple[Tensor, Tensor]:
    x, total = z if bias is None else z - bias[:, None, None], 0.0
    for weight, link in reversed(list(zip(weights, links, strict=True))):
        x, logabsdet = lanes.invert(weight, x, link)
        _refuse_zeros(logabsdet, (weight,))
        total += logabsdet
    return x, z.new_tensor(total)


def _link_by_link(
    z: Tensor, weights: Sequence[Tensor], links: tuple[Link, ...], bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    logabsdet = torch.cat([diagonal(weight) for weight in weights]).abs().log().sum()
    _refuse_zeros(logabsdet.detach(), weights)
    x = z if bias is None else z - bias[:, None, None]
    for weight, link in reversed(list(zip(weights, links, strict=True))):
        masked = live_weight(weight, link)
        x = solve_masked(masked, x, mask=link.mask, reverse=link.reverse, dilation=link.dilation)
    return x, logabsdet
