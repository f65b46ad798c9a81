"""Chains of masked convolutions forward, and all their gradients, in one call on the CPU.

``LANES`` samples fill the vectors of this CPU, lanes innermost, so small images are as good as
large ones. A chain stays in one thread's buffers, with zeros around every image: an image is
read once and written once, however many convolutions there are. torch would start dozens of
operations for what is a few hundred thousand products.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from numpy.typing import NDArray
from torch import Tensor

from emcheck.solve.compiled import KEEP
from emcheck.solve.masks import Link, live_offsets
from emcheck.solve.threads import run_team
from emcheck.solve.vector import (
    BLOCK,
    INPUTS,
    LANES,
    OUTPUTS,
    as_pointer,
    convolve_block,
    correlate_block,
    take_next,
    transpose_in,
    transpose_out,
)

#: Bytes of one thread's buffers that still fit into a usual second-level cache.
_CACHE = 1 << 20

#: Numbers in a batch that pay for one more thread.
_WORTH_A_THREAD = 1 << 14

#: A task is one block of integers for every thread: the next group; B, C, H, W, zeros around
#: an image, links of the chain, taps of a link, groups, whether x needs a gradient; then the
#: addresses of taps, packed weights, bias, x, z or its gradient, gradients of x and weights.
_FIELDS, _ADDRESSES = 17, 10

#: A tap of a link: where it looks, ``(di, dj)``, its place in the kernel, whether the centre.
_TAP = 5


@njit(nogil=True, cache=KEEP)
def _pack(weight, taps, reverse, packed):
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
def _collect(totals, taps, reverse, weight, slope, gradient):
    """Sums of all groups, in one order, put where they belong; ``slope`` is of the log-det."""
    G, T, C = totals.shape[:3]
    for t in range(T):
        a, b, centre = taps[t, 2], taps[t, 3], taps[t, 4] != 0
        for c in range(C):
            for o in range(C):
                if not centre or (c >= o if reverse else c <= o):
                    total = totals[0, t, c, o]
                    for n in range(1, G):
                        total += totals[n, t, c, o]
                    gradient[o, c, a, b] = total
    for c in range(C):
        a, b = taps[T - 1, 2], taps[T - 1, 3]
        gradient[c, c, a, b] += slope / weight[c, c, a, b]


@njit(nogil=True, cache=KEEP, inline="always")
def _load(source, starts, buffer, where, HW, C):
    L = len(starts)
    for c in range(C):
        if HW >= L:
            for m in range(0, HW - L + 1, L):
                transpose_in(source, starts, c * HW + m, buffer, where, m, c * L)
            if HW % L:
                transpose_in(source, starts, (c + 1) * HW - L, buffer, where, HW - L, c * L)
        else:
            for m in range(HW):
                for l in range(L):
                    buffer[where[m] + c * L + l] = source[starts[l] + c * HW + m]


@njit(nogil=True, cache=KEEP, inline="always")
def _store(buffer, where, target, starts, HW, C):
    L = len(starts)
    for c in range(C):
        if HW >= L:
            for m in range(0, HW - L + 1, L):
                transpose_out(buffer, where, m, c * L, target, starts, c * HW + m)
            if HW % L:
                transpose_out(buffer, where, HW - L, c * L, target, starts, (c + 1) * HW - L)
        else:
            for m in range(HW):
                for l in range(L):
                    target[starts[l] + c * HW + m] = buffer[where[m] + c * L + l]


@njit(nogil=True, cache=KEEP)
def _convolve(buffer, out, H, W, length, margin, offsets, weights, bias, C, L):
    """One link: from the inside of ``buffer`` to that of ``out``, both with zeros around."""
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
def _correlate(left, right, H, W, length, margin, offsets, total, C, L):
    """``total[(t C + c) C + o]`` plus the products of input ``c`` at tap ``t`` and output ``o``."""
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


@njit(nogil=True, cache=KEEP)
def _places(H, W, length, margin, pixel):
    where = np.empty(H * W, np.int64)
    for i in range(H):
        for j in range(W):
            where[i * W + j] = ((margin + i) * length + margin + j) * pixel
    return where


@njit(nogil=True, cache=KEEP)
def _offsets(taps, length, pixel, sign):
    offsets = np.empty(taps.shape[:2], np.int64)
    for n in range(len(taps)):
        for t in range(taps.shape[1]):
            offsets[n, t] = sign * (taps[n, t, 0] * length + taps[n, t, 1]) * pixel
    return offsets


@functools.cache
def _thread_of(gradient: bool, size: int):
    """The C function that takes groups of a task, numbers of ``size`` bytes, until none is left."""
    dtype = np.float32 if size == 4 else np.float64
    L = LANES[size]

    def convolve(address):
        task = carray(address, (_FIELDS,), np.int64)
        B, C, H, W, margin, links, T, groups, _ = task[1:_ADDRESSES]
        n, pixel, length = C * H * W, C * L, W + 2 * margin
        taps = carray(as_pointer(task[10]), (links, T, _TAP), np.int64)
        weights = carray(as_pointer(task[11]), (links, 2, T * C * C), dtype)
        bias = carray(as_pointer(task[12]), (C,), dtype)
        x = carray(as_pointer(task[13]), (B * n,), dtype)
        z = carray(as_pointer(task[14]), (B * n,), dtype)
        offsets = _offsets(taps, length, pixel, 1)
        where = _places(H, W, length, margin, pixel)
        buffers = np.zeros((2, (H + 2 * margin) * length * pixel), dtype)
        none, starts = np.zeros(C, dtype), np.empty(L, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(L):  # lanes without a sample repeat the last one
                starts[l] = min(group * L + l, B - 1) * n
            _load(x, starts, buffers[0], where, H * W, C)
            for k in range(links):
                add = bias if k + 1 == links else none
                _convolve(
                    buffers[k % 2], buffers[1 - k % 2], H, W, length, margin,
                    offsets[k], weights[k, 0], add, C, L,
                )  # fmt: skip
            _store(buffers[links % 2], where, z, starts, H * W, C)

    def pull(address):
        task = carray(address, (_FIELDS,), np.int64)
        B, C, H, W, margin, links, T, groups, wanted = task[1:_ADDRESSES]
        n, pixel, length = C * H * W, C * L, W + 2 * margin
        taps = carray(as_pointer(task[10]), (links, T, _TAP), np.int64)
        weights = carray(as_pointer(task[11]), (links, 2, T * C * C), dtype)
        x = carray(as_pointer(task[13]), (B * n,), dtype)
        g = carray(as_pointer(task[14]), (B * n,), dtype)
        of_x = carray(as_pointer(task[15]), (B * n,), dtype)
        totals = carray(as_pointer(task[16]), (links, groups, T * C * C), dtype)
        there, back = _offsets(taps, length, pixel, 1), _offsets(taps, length, pixel, -1)
        where = _places(H, W, length, margin, pixel)
        amount = (H + 2 * margin) * length * pixel
        inputs, slopes = np.zeros((links, amount), dtype), np.zeros((2, amount), dtype)
        none, starts = np.zeros(C, dtype), np.empty(L, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(L):
                starts[l] = min(group * L + l, B - 1) * n
            _load(x, starts, inputs[0], where, H * W, C)
            _load(g, starts, slopes[0], where, H * W, C)
            for l in range(B - group * L, L):  # lanes without a sample add nothing to sums
                for m in range(H * W):
                    for c in range(C):
                        inputs[0, where[m] + c * L + l] = 0
            for k in range(links - 1):
                _convolve(
                    inputs[k], inputs[k + 1], H, W, length, margin,
                    there[k], weights[k, 0], none, C, L,
                )  # fmt: skip
            for s in range(links):
                k = links - 1 - s
                _correlate(
                    inputs[k], slopes[s % 2], H, W, length, margin, there[k],
                    totals[k, group], C, L,
                )  # fmt: skip
                if k or wanted:
                    _convolve(
                        slopes[s % 2], slopes[1 - s % 2], H, W, length, margin,
                        back[k], weights[k, 1], none, C, L,
                    )  # fmt: skip
            if wanted:
                _store(slopes[links % 2], where, of_x, starts, H * W, C)

    return cfunc(types.void(types.voidptr), cache=KEEP)(pull if gradient else convolve)


@dataclass(frozen=True)
class Plan:
    """Geometry of a chain at one shape, nothing of the weights: it cannot go stale.

    ``taps (links, T, 5)``, the centre last; ``task`` has no address and starts at zero.
    """

    taps: NDArray[np.int64]
    links: tuple[Link, ...]
    task: NDArray[np.int64]
    threads: int

    @functools.cached_property
    def where(self) -> int:
        """The address of the taps."""
        return int(self.taps.ctypes.data)


@functools.lru_cache(maxsize=128)
def plan(
    shape: tuple[int, ...], size: int, kernel_sizes: tuple[int, ...], links: tuple[Link, ...]
) -> Plan | None:
    """The plan for ``x`` of a shape and an item size in bytes, None where ``conv2d`` is faster.

    It is if under half of the lanes hold a sample, or a thread's buffers do not fit its cache.
    """
    B, C, H, W = shape
    L, first = LANES[size], links[0]
    margin = kernel_sizes[0] // 2 * first.dilation
    alike = {(k, l.mask, l.dilation) for k, l in zip(kernel_sizes, links, strict=True)}
    room = (len(links) + 2) * (H + 2 * margin) * (W + 2 * margin) * C * L * size
    if len(alike) > 1 or room > _CACHE or 0 in shape or 2 * B < L * -(-B // L):
        return None
    taps = np.stack([_taps(kernel_sizes[0], link, H, W) for link in links])
    groups = -(-B // L)
    head = (0, B, C, H, W, margin, len(links), taps.shape[1], groups, 0)
    task = np.array([*head, *[0] * (_FIELDS - len(head))], np.int64)
    return Plan(taps, links, task, min(groups, 1 + B * C * H * W // _WORTH_A_THREAD))


def _taps(kernel_size: int, link: Link, H: int, W: int) -> NDArray[np.int64]:
    r, n, sign = kernel_size // 2, kernel_size - 1, -1 if link.reverse else 1
    rows = [
        (sign * i, sign * j, *((n - a, n - b) if link.reverse else (a, b)), 0)
        for (a, b), (i, j) in live_offsets(kernel_size, link.mask, link.dilation, H, W).items()
    ]
    return np.array([*rows, (0, 0, r, r, 1)], np.int64)


def forward(
    plan: Plan, x: Tensor, weights: Sequence[Tensor], bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``z (B, C, H, W)``, plus ``bias (C,)``, and ``sum log|diagonal|`` of all centre taps."""
    x, packed, logabsdet = _plain(x), *_packed(plan, weights)
    add = x.new_zeros(x.shape[1]) if bias is None else _plain(bias)
    z = torch.empty_like(x)
    _run(False, plan, 0, packed, (add, x, z))
    return z, x.new_tensor(logabsdet)


def backward(
    plan: Plan, x: Tensor, weights: Sequence[Tensor], g: Tensor, slope: float, wanted: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """Gradients of x, if ``wanted``, and of the weights, zero at dead taps.

    ``g`` is the gradient of z and ``slope`` that of the sum of logarithms.
    """
    x, g, packed = _plain(x), _plain(g), _packed(plan, weights)[0]
    (links, T), C, groups = plan.taps.shape[:2], x.shape[1], int(plan.task[8])
    totals, of_x = x.new_zeros(links, groups, T, C, C), torch.empty_like(x)
    _run(True, plan, int(wanted), packed, (x, x, g, of_x, totals))
    of_weights = [torch.zeros_like(_plain(weight)) for weight in weights]
    rows = zip(plan.links, totals.numpy(), plan.taps, weights, of_weights, strict=True)
    for link, total, taps, weight, found in rows:
        value = _plain(weight).numpy()
        _collect(total, taps, link.reverse, value, value.dtype.type(slope), found.numpy())
    return of_x if wanted else None, of_weights


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_neg().contiguous()


def _packed(plan: Plan, weights: Sequence[Tensor]) -> tuple[Tensor, float]:
    (links, T), C = plan.taps.shape[:2], weights[0].shape[0]
    packed, logabsdet = weights[0].new_empty(links, 2, T * C * C), 0.0
    rows = zip(plan.links, plan.taps, weights, packed.numpy(), strict=True)
    for link, taps, weight, row in rows:
        logabsdet += _pack(_plain(weight).numpy(), taps, link.reverse, row)
    return packed, logabsdet


def _run(
    gradient: bool, plan: Plan, wanted: int, packed: Tensor, others: tuple[Tensor, ...]
) -> None:
    task = plan.task.copy()
    task[_ADDRESSES - 1] = wanted
    addresses = [plan.where, packed.data_ptr(), *(other.data_ptr() for other in others)]
    task[_ADDRESSES : _ADDRESSES + len(addresses)] = addresses
    address = _thread_of(gradient, packed.element_size()).address
    run_team(address, task.ctypes.data, min(plan.threads, torch.get_num_threads()))
