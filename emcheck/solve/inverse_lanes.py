"""Chains of masked convolutions backward, and all their gradients, in one call on the CPU.

Pixels are taken in the order of each link, forward or backward through one and the same buffer:
a reversed link reads channels, pixels and taps from the other end.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from torch import Tensor

from emcheck.solve.chain_lanes import (
    ADDRESSES,
    FIELDS,
    TAP,
    Plan,
    load,
    offsets_of,
    places_of,
    plain,
    run,
    store,
)
from emcheck.solve.compiled import KEEP
from emcheck.solve.forward_lanes import (
    convolve_link,
    correlate_link,
    gradients_of,
    packed_weights,
    totals_of,
)
from emcheck.solve.lanes import pack_triangles, packed_size, substitute_pixels
from emcheck.solve.vector import LANES, as_pointer, subtract_number, take_next


@njit(nogil=True, cache=KEEP)
def _substitute_link(buffer, where, offsets, weights, C, L, turned, divide):
    """One link in place, from the last pixel and channel to the first where it is turned."""
    N, stride = len(where), -L if turned else L
    for n in range(N):
        base = where[N - 1 - n] + (C - 1) * L if turned else where[n]
        substitute_pixels(buffer, base, stride, offsets, 0, weights, C, divide, 0, L)


@functools.cache
def _thread_of(gradient: bool, size: int):
    """The C function that takes groups of a task, numbers of ``size`` bytes, until none is left."""
    dtype = np.float32 if size == 4 else np.float64
    L = LANES[size]

    def substitute(address):
        task = carray(address, (FIELDS,), np.int64)
        B, C, H, W, margin, links, T, groups, biased = task[1:ADDRESSES]
        n, pixel, length = C * H * W, C * L, W + 2 * margin
        taps = carray(as_pointer(task[10]), (links, T, TAP), np.int64)
        how = carray(as_pointer(task[11]), (links, 3), np.int64)
        weights = carray(as_pointer(task[12]), (links * how[0, 2],), dtype)
        bias = carray(as_pointer(task[13]), (C,), dtype)
        z = carray(as_pointer(task[14]), (B * n,), dtype)
        x = carray(as_pointer(task[15]), (B * n,), dtype)
        offsets = offsets_of(taps, length, pixel, 1)
        where = places_of(H, W, length, margin, pixel)
        buffer, starts = np.zeros((H + 2 * margin) * length * pixel, dtype), np.empty(L, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(L):  # lanes without a sample repeat the last one
                starts[l] = min(group * L + l, B - 1) * n
            load(z, starts, buffer, where, H * W, C)
            for m in range(len(where) if biased else 0):
                for c in range(C):
                    subtract_number(buffer, where[m] + c * L, bias, c)
            for s in range(links):
                k = links - 1 - s
                _substitute_link(
                    buffer, where, offsets[k, : T - 1], weights[k * how[0, 2] :],
                    C, L, how[k, 0] != 0, how[k, 1] != 0,
                )  # fmt: skip
            store(buffer, where, x, starts, H * W, C)

    def pull(address):
        task = carray(address, (FIELDS,), np.int64)
        B, C, H, W, margin, links, T, groups, _ = task[1:ADDRESSES]
        n, pixel, length = C * H * W, C * L, W + 2 * margin
        taps = carray(as_pointer(task[10]), (links, T, TAP), np.int64)
        how = carray(as_pointer(task[11]), (links, 3), np.int64)
        adjoint = carray(as_pointer(task[12]), (links * how[0, 2],), dtype)
        weights = carray(as_pointer(task[13]), (links, 2, T * C * C), dtype)
        x = carray(as_pointer(task[14]), (B * n,), dtype)
        g = carray(as_pointer(task[15]), (B * n,), dtype)
        of_z = carray(as_pointer(task[16]), (B * n,), dtype)
        totals = carray(as_pointer(task[17]), (links, groups, T * C * C), dtype)
        there, back = offsets_of(taps, length, pixel, 1), offsets_of(taps, length, pixel, -1)
        where = places_of(H, W, length, margin, pixel)
        amount = (H + 2 * margin) * length * pixel
        inputs, slope = np.zeros((links, amount), dtype), np.zeros(amount, dtype)
        none, starts = np.zeros(C, dtype), np.empty(L, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(L):
                starts[l] = min(group * L + l, B - 1) * n
            load(x, starts, inputs[0], where, H * W, C)
            load(g, starts, slope, where, H * W, C)
            for l in range(B - group * L, L):  # lanes without a sample add nothing to sums
                for m in range(H * W):
                    for c in range(C):
                        inputs[0, where[m] + c * L + l] = 0
            for k in range(links - 1):
                convolve_link(
                    inputs[k], inputs[k + 1], H, W, length, margin,
                    there[k], weights[k, 0], none, C, L,
                )  # fmt: skip
            for k in range(links):
                _substitute_link(
                    slope, where, back[k, : T - 1], adjoint[k * how[0, 2] :],
                    C, L, how[k, 0] != 0, how[k, 1] != 0,
                )  # fmt: skip
                correlate_link(
                    inputs[k], slope, H, W, length, margin, there[k], totals[k, group], C, L
                )
            store(slope, where, of_z, starts, H * W, C)

    return cfunc(types.void(types.voidptr), cache=KEEP)(pull if gradient else substitute)


def packed_triangles(
    plan: Plan, weights: Sequence[Tensor], adjoint: bool
) -> tuple[Tensor, Tensor, float]:
    """Weights ``(links, size)`` in the order of substitution, how to read them, the log-det.

    ``how (links, 3)`` says of each whether it is turned, whether to divide by its diagonal, and
    its size. The log-det is that of one pixel, ``sum log|w[c,c,r,r]|``, of all links.
    """
    (links, T), C, logabsdet = plan.taps.shape[:2], weights[0].shape[0], 0.0
    packed = weights[0].new_empty(links, packed_size(C, T))
    how = np.empty((links, 3), np.int64)
    rows = zip(plan.links, plan.taps, weights, packed.numpy(), strict=True)
    for k, (link, taps, weight, row) in enumerate(rows):
        turned = link.reverse != adjoint
        divide, found = pack_triangles(plain(weight).numpy(), taps[:, 2:], turned, adjoint, row)
        how[k], logabsdet = (turned, divide, len(row)), logabsdet + found
    return packed, torch.from_numpy(how), logabsdet


def inverse(
    plan: Plan, z: Tensor, triangles: tuple[Tensor, Tensor, float], bias: Tensor | None
) -> Tensor:
    """The ``x`` whose chain, plus ``bias (C,)``, is ``z (B, C, H, W)``."""
    z, (packed, how, _) = plain(z), triangles
    x, less = torch.empty_like(z), z if bias is None else plain(bias)
    substitute = _thread_of(False, z.element_size()).address
    run(substitute, plan, bias is not None, (how, packed, less, z, x))
    return x


def backward(
    plan: Plan, x: Tensor, weights: Sequence[Tensor], g: Tensor, slope: float
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of z and of the weights, zero at dead taps.

    ``g`` is the gradient of x and ``slope`` that of the sum of logarithms.
    """
    x, g, packed = plain(x), plain(g), packed_weights(plan, weights)[0]
    adjoint, how, _ = packed_triangles(plan, weights, True)
    totals, of_z = totals_of(plan, x), torch.empty_like(x)
    pull = _thread_of(True, x.element_size()).address
    run(pull, plan, True, (how, adjoint, packed, x, g, of_z, totals))
    return of_z, gradients_of(plan, weights, totals, -1, slope)
