"""Complex LU and substitution in vector registers: the lanes are frequencies.

The half spectrum of an FFT has the frequencies innermost, so a vector is read contiguously,
and every lane factorises its own matrix with its own pivots. Factors of a few blocks of
frequencies stay in the cache while all samples pass, ``WIDTH`` at a time.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from torch import Tensor

from emcheck.solve.compiled import KEEP
from emcheck.solve.complex_vector import (
    WIDTH,
    divide_complex,
    merge_row,
    put_complex,
    subtract_products,
    take_complex,
)
from emcheck.solve.threads import run_team
from emcheck.solve.vector import LANES, as_pointer, take_next

#: Bytes of the factors that one thread works with: half of a usual second-level cache.
_CACHE = 1 << 19

#: Blocks of frequencies at a time: with four, a thread reads 512 contiguous bytes.
_BLOCKS = 4

#: A task: the next group; F, B, C, lanes, blocks in a group; then the addresses of the
#: spectrum, the right-hand sides, which become the solutions, and the pivots.
_FIELDS, _ADDRESSES = 9, 6

#: Complex products that are worth one more thread.
_WORTH_A_THREAD = 1 << 16


@njit(nogil=True, cache=KEEP)
def _pivot(factors, k, row, C, L, best, where):
    """Find, in every lane, the row from ``k`` on with the largest entry of column ``k``."""
    for l in range(L):
        best[l], where[l] = -1, k
    for i in range(k, C):
        at = i * row + k * 2 * L
        for l in range(L):
            size = abs(factors[at + l]) + abs(factors[at + L + l])
            if size > best[l]:
                best[l], where[l] = size, i


@njit(nogil=True, cache=KEEP)
def _factorise(spectrum, begin, F, C, L, factors, order, divisors, pivots, best, where):
    """Factorise ``L`` matrices from frequency ``begin`` on by LU with partial pivoting.

    ``order (C, L)`` becomes the rows in the order of the pivots, ``divisors (C, 3, L)`` what
    ``divide_complex`` takes.
    """
    row = (C + WIDTH - 1) * 2 * L  # the last columns are updated WIDTH at a time
    tiny = np.finfo(factors.dtype).tiny
    for i in range(C):
        for j in range(C):
            take_complex(spectrum, ((i * C + j) * F + begin) * 2, factors, i * row + j * 2 * L)
        for l in range(L):
            order[i * L + l] = i
    for k in range(C):
        _pivot(factors, k, row, C, L, best, where)
        for l in range(L):
            p = where[l]
            if p != k:
                for j in range(2 * C):
                    a, b = k * row + j * L + l, p * row + j * L + l
                    factors[a], factors[b] = factors[b], factors[a]
                a, b = k * L + l, p * L + l
                order[a], order[b] = order[b], order[a]
        diagonal = k * row + k * 2 * L
        for l in range(L):
            re, im = factors[diagonal + l], factors[diagonal + L + l]
            s = min(1 / max(abs(re), abs(im), tiny), 1 / tiny)
            c, d = re * s, im * s
            square = c * c + d * d
            if square == 0:
                square += 1  # singular: the pivot 0 shows it
            divisors[3 * k * L + l] = s
            divisors[(3 * k + 1) * L + l] = c / square
            divisors[(3 * k + 2) * L + l] = -d / square
        put_complex(factors, diagonal, pivots, (k * F + begin) * 2)
        for i in range(k + 1, C):
            lower = i * row + k * 2 * L
            divide_complex(factors, lower, 1, divisors, 3 * k * L)
            for j in range(k + 1, C, WIDTH):
                here, there = i * row + j * 2 * L, k * row + j * 2 * L
                subtract_products(factors, here, factors, there, 0, factors, lower, 0, 1)


@njit(nogil=True, cache=KEEP)
def _list_sources(order, C, L, sources):
    """``sources (C, 1 + L)``: how many rows any lane has at place ``i`` of the order, and which."""
    for i in range(C):
        start, n = i * (1 + L), 0
        for l in range(L):
            known = False
            for m in range(n):
                known |= sources[start + 1 + m] == order[i * L + l]
            if not known:
                n += 1
                sources[start + n] = order[i * L + l]
        sources[start] = n


@njit(nogil=True, cache=KEEP)
def _substitute(x, first, B, begin, skip, F, C, L, factors, order, sources, divisors, raw, y):
    """Solve samples ``first`` to ``first + WIDTH - 1`` of ``L`` frequencies; the last repeats.

    The first ``skip`` frequencies are those of another block, which may have solved them already.
    """
    row, pixel = (C + WIDTH - 1) * 2 * L, WIDTH * 2 * L
    for m in range(WIDTH):
        b = min(first + m, B - 1)
        for i in range(C):
            take_complex(x, ((b * C + i) * F + begin) * 2, raw, i * pixel + m * 2 * L)
    for i in range(C):
        for n in range(sources[i * (1 + L)]):
            row_of_some = sources[i * (1 + L) + 1 + n]
            merge_row(raw, row_of_some * pixel, y, i * pixel, order, i * L, row_of_some)
    for i in range(1, C):
        subtract_products(y, i * pixel, y, 0, pixel, factors, i * row, 2 * L, i)
    for i in range(C - 1, -1, -1):
        after = i + 1
        at = i * row + after * 2 * L
        subtract_products(y, i * pixel, y, after * pixel, pixel, factors, at, 2 * L, C - after)
        divide_complex(y, i * pixel, WIDTH, divisors, 3 * i * L)
    for m in range(min(WIDTH, B - first)):
        for i in range(C):
            at, index = i * pixel + m * 2 * L, (((first + m) * C + i) * F + begin) * 2
            if skip == 0:
                put_complex(y, at, x, index)
            else:
                for l in range(skip, L):
                    x[index + 2 * l], x[index + 2 * l + 1] = y[at + l], y[at + L + l]


@functools.cache
def _thread_of(size: int):
    """Return the C function that works on a task's groups until none is left."""
    dtype = np.float32 if size == 4 else np.float64

    def work(address):
        task = carray(address, (_FIELDS,), np.int64)
        F, B, C, L, blocks = task[1:_ADDRESSES]
        spectrum = carray(as_pointer(task[_ADDRESSES]), (C * C * F * 2,), dtype)
        x = carray(as_pointer(task[_ADDRESSES + 1]), (B * C * F * 2,), dtype)
        pivots = carray(as_pointer(task[_ADDRESSES + 2]), (C * F * 2,), dtype)
        factors = np.zeros((blocks, C * (C + WIDTH - 1) * 2 * L), dtype)
        order = np.empty((blocks, C * L), np.int64)
        sources = np.empty((blocks, C * (1 + L)), np.int64)
        divisors = np.empty((blocks, 3 * C * L), dtype)
        raw, y = np.empty(C * WIDTH * 2 * L, dtype), np.empty(C * WIDTH * 2 * L, dtype)
        best, where = np.empty(L, dtype), np.empty(L, np.int64)
        while True:
            start = take_next(task) * L * blocks
            if start >= F:
                return
            n = min(blocks, (F - start + L - 1) // L)
            for g in range(n):
                f = min(start + g * L, F - L)  # the last block begins earlier
                _factorise(
                    spectrum, f, F, C, L, factors[g], order[g], divisors[g], pivots, best, where
                )
                _list_sources(order[g], C, L, sources[g])
            for b in range(0, B, WIDTH):
                for g in range(n):
                    f = min(start + g * L, F - L)
                    _substitute(
                        x, b, B, f, start + g * L - f, F, C, L, factors[g], order[g], sources[g],
                        divisors[g], raw, y,
                    )  # fmt: skip

    return cfunc(types.void(types.voidptr), cache=KEEP)(work)


def solve(spectrum: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solve ``spectrum (C, C, F) x = right (B, C, F)``; return ``x`` and the pivots ``(C, F)``.

    ``x`` may take the memory of ``right``. A zero pivot shows a singular matrix, whose ``x`` means
    nothing. Memory: for each thread, half a megabyte or one block of factors.
    """
    B, C, F = right.shape
    L = LANES[spectrum.element_size() // 2]
    if F < L:
        more = [
            torch.cat([t, t[..., -1:].expand(*t.shape[:-1], L - F)], -1) for t in (spectrum, right)
        ]
        x, pivots = solve(*more)
        return x[..., :F], pivots[:, :F]
    spectrum, right = (t.resolve_conj().contiguous() for t in (spectrum, right))
    x, pivots = right, spectrum.new_empty(C, F)
    block = C * (C + WIDTH - 1) * L * spectrum.element_size()
    blocks = max(1, min(_BLOCKS, _CACHE // block, -(-F // (L * torch.get_num_threads()))))
    addresses = [t.data_ptr() for t in (spectrum, x, pivots)]
    task = np.array([0, F, B, C, L, blocks, *addresses], np.int64)
    groups, products = -(-F // (L * blocks)), F * C * C * (B + C)
    threads = min(groups, torch.get_num_threads(), 1 + products // _WORTH_A_THREAD)
    run_team(_thread_of(spectrum.element_size() // 2).address, task.ctypes.data, threads)
    return x, pivots
