"""Chains of masked convolutions forward, and all their gradients, in one call on the CPU."""

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
from emcheck.solve.vector import (
    BLOCK,
    INPUTS,
    LANES,
    OUTPUTS,
    as_pointer,
    convolve_block,
    correlate_block,
    take_next,
)


@njit(nogil=True, cache=KEEP)
def pack(weight, taps, reverse, packed):
    """``packed (2, T C C)``: for each block of outputs (tap, input, output); then transposed.

    Returns ``sum_c log|w[c,c,r,r]|``.
    """
    C, T = weight.shape[0], len(taps)
    at, logabsdet = 0, 0.0
    for o in range(0, C, BLOCK):
        K = min(BLOCK, C - o)
        for t in range(T):
            a, b, centre = taps[t, 2], taps[t, 3], taps[t, 4] != 0
            for c in range(C):
                for p in range(o, o + K):
                    before = centre and c < p
                    after = centre and c > p
                    packed[0, at] = 0 if (before if reverse else after) else weight[p, c, a, b]
                    packed[1, at] = 0 if (after if reverse else before) else weight[c, p, a, b]
                    at += 1
    for c in range(C):
        logabsdet += np.log(abs(np.float64(weight[c, c, taps[T - 1, 2], taps[T - 1, 3]])))
    return logabsdet


@njit(nogil=True, cache=KEEP, error_model="numpy")
def collect(totals, sign, taps, reverse, weight, slope, gradient):
    """Put ``sign`` times the sums of all groups, in one order, into ``gradient``.

    ``slope`` is the gradient of the log-det.
    """
    G, T, C = totals.shape[:3]
    for t in range(T):
        a, b, centre = taps[t, 2], taps[t, 3], taps[t, 4] != 0
        for c in range(C):
            for o in range(C):
                if not centre or (c >= o if reverse else c <= o):
                    total = totals[0, t, c, o]
                    for n in range(1, G):
                        total += totals[n, t, c, o]
                    gradient[o, c, a, b] = sign * total
    for c in range(C):
        a, b = taps[T - 1, 2], taps[T - 1, 3]
        gradient[c, c, a, b] += slope / weight[c, c, a, b]


@njit(nogil=True, cache=KEEP)
def convolve_link(buffer, out, H, W, length, margin, offsets, weights, bias, C, L):
    """Apply one link from the inside of ``buffer`` to that of ``out``, both with zeros around."""
    T, pixel = len(offsets), C * L
    for i in range(H):
        for j in range(0, W, 2):
            base = ((margin + i) * length + margin + j) * pixel
            apart = pixel if j + 1 < W else 0
            for o in range(0, C, BLOCK):
                K = min(BLOCK, C - o)
                convolve_block(
                    buffer, base, L, offsets, weights, o * T * C, C, o, K, bias, out, base, apart
                )


@njit(nogil=True, cache=KEEP)
def correlate_link(left, right, H, W, length, margin, offsets, total, C, L):
    """Add products of input ``c`` at tap ``t`` and output ``o`` to ``total[(t C + c) C + o]``."""
    pixel = C * L
    base = (margin * length + margin) * pixel
    for t in range(len(offsets)):
        c = 0
        while c < C:
            inputs = INPUTS if c + INPUTS <= C else 1
            o = 0
            while o < C:
                outputs = OUTPUTS if o + OUTPUTS <= C else 1
                correlate_block(
                    left, base + offsets[t] + c * L, right, base + o * L, L, pixel,
                    length * pixel, H, W, inputs, outputs, total, (t * C + c) * C + o, C,
                )  # fmt: skip
                o += outputs
            c += inputs


@functools.cache
def _thread_of(gradient: bool, size: int):
    """Return the C function that works on a task's groups until none is left."""
    dtype = np.float32 if size == 4 else np.float64
    L = LANES[size]

    def convolve(address):
        task = carray(address, (FIELDS,), np.int64)
        B, C, H, W, margin, links, T, groups, _ = task[1:ADDRESSES]
        n, pixel, length = C * H * W, C * L, W + 2 * margin
        taps = carray(as_pointer(task[10]), (links, T, TAP), np.int64)
        weights = carray(as_pointer(task[11]), (links, 2, T * C * C), dtype)
        bias = carray(as_pointer(task[12]), (C,), dtype)
        x = carray(as_pointer(task[13]), (B * n,), dtype)
        z = carray(as_pointer(task[14]), (B * n,), dtype)
        offsets = offsets_of(taps, length, pixel, 1)
        where = places_of(H, W, length, margin, pixel)
        buffers = np.zeros((2, (H + 2 * margin) * length * pixel), dtype)
        none, starts = np.zeros(C, dtype), np.empty(L, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(L):  # lanes without a sample repeat the last one
                starts[l] = min(group * L + l, B - 1) * n
            load(x, starts, buffers[0], where, H * W, C)
            for k in range(links):
                add = bias if k + 1 == links else none
                convolve_link(
                    buffers[k % 2], buffers[1 - k % 2], H, W, length, margin,
                    offsets[k], weights[k, 0], add, C, L,
                )  # fmt: skip
            store(buffers[links % 2], where, z, starts, H * W, C)

    def pull(address):
        task = carray(address, (FIELDS,), np.int64)
        B, C, H, W, margin, links, T, groups, wanted = task[1:ADDRESSES]
        n, pixel, length = C * H * W, C * L, W + 2 * margin
        taps = carray(as_pointer(task[10]), (links, T, TAP), np.int64)
        weights = carray(as_pointer(task[11]), (links, 2, T * C * C), dtype)
        x = carray(as_pointer(task[13]), (B * n,), dtype)
        g = carray(as_pointer(task[14]), (B * n,), dtype)
        of_x = carray(as_pointer(task[15]), (B * n,), dtype)
        totals = carray(as_pointer(task[16]), (links, groups, T * C * C), dtype)
        there, back = offsets_of(taps, length, pixel, 1), offsets_of(taps, length, pixel, -1)
        where = places_of(H, W, length, margin, pixel)
        amount = (H + 2 * margin) * length * pixel
        inputs, slopes = np.zeros((links, amount), dtype), np.zeros((2, amount), dtype)
        none, starts = np.zeros(C, dtype), np.empty(L, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(L):
                starts[l] = min(group * L + l, B - 1) * n
            load(x, starts, inputs[0], where, H * W, C)
            load(g, starts, slopes[0], where, H * W, C)
            for l in range(B - group * L, L):  # lanes without a sample add nothing to sums
                for m in range(H * W):
                    for c in range(C):
                        inputs[0, where[m] + c * L + l] = 0
            for k in range(links - 1):
                convolve_link(
                    inputs[k], inputs[k + 1], H, W, length, margin,
                    there[k], weights[k, 0], none, C, L,
                )  # fmt: skip
            for s in range(links):
                k = links - 1 - s
                correlate_link(
                    inputs[k], slopes[s % 2], H, W, length, margin, there[k],
                    totals[k, group], C, L,
                )  # fmt: skip
                if k or wanted:
                    convolve_link(
                        slopes[s % 2], slopes[1 - s % 2], H, W, length, margin,
                        back[k], weights[k, 1], none, C, L,
                    )  # fmt: skip
            if wanted:
                store(slopes[links % 2], where, of_x, starts, H * W, C)

    return cfunc(types.void(types.voidptr), cache=KEEP)(pull if gradient else convolve)


def forward(
    plan: Plan, x: Tensor, weights: Sequence[Tensor], bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``z (B, C, H, W)``, with ``bias (C,)``, and ``sum log|diagonal|`` of all centre taps."""
    x, packed, logabsdet = plain(x), *packed_weights(plan, weights)
    add = x.new_zeros(x.shape[1]) if bias is None else plain(bias)
    z = torch.empty_like(x)
    run(_thread_of(False, x.element_size()).address, plan, False, (packed, add, x, z))
    return z, x.new_tensor(logabsdet)


def backward(
    plan: Plan, x: Tensor, weights: Sequence[Tensor], g: Tensor, slope: float, wanted: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """Return the gradients of x, if ``wanted``, and of the weights, zero at dead taps.

    ``g`` is the gradient of z and ``slope`` that of the sum of logarithms.
    """
    x, g, packed = plain(x), plain(g), packed_weights(plan, weights)[0]
    totals, of_x = totals_of(plan, x), torch.empty_like(x)
    pull = _thread_of(True, x.element_size()).address
    run(pull, plan, wanted, (packed, x, x, g, of_x, totals))
    return of_x if wanted else None, gradients_of(plan, weights, totals, 1, slope)


def totals_of(plan: Plan, x: Tensor) -> Tensor:
    """Where every group adds up its products, ``(links, groups, T, C, C)``."""
    (links, T), C, groups = plan.taps.shape[:2], x.shape[1], int(plan.task[8])
    return x.new_zeros(links, groups, T, C, C)


def gradients_of(
    plan: Plan, weights: Sequence[Tensor], totals: Tensor, sign: int, slope: float
) -> list[Tensor]:
    """A gradient for each weight: ``sign`` times the totals, plus that of the log-det."""
    of_weights = [torch.zeros_like(plain(weight)) for weight in weights]
    rows = zip(plan.links, totals.numpy(), plan.taps, weights, of_weights, strict=True)
    for link, total, taps, weight, found in rows:
        value = plain(weight).numpy()
        unit = value.dtype.type
        collect(total, unit(sign), taps, link.reverse, value, unit(slope), found.numpy())
    return of_weights


def packed_weights(plan: Plan, weights: Sequence[Tensor]) -> tuple[Tensor, float]:
    """Those of all links ``(links, 2, T C C)``, see ``pack``, and the sum of their log-dets."""
    (links, T), C = plan.taps.shape[:2], weights[0].shape[0]
    packed, logabsdet = weights[0].new_empty(links, 2, T * C * C), 0.0
    rows = zip(plan.links, plan.taps, weights, packed.numpy(), strict=True)
    for link, taps, weight, row in rows:
        logabsdet += pack(plain(weight).numpy(), taps, link.reverse, row)
    return packed, logabsdet
