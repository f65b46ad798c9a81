"""One system for every pixel, ``L U x = y`` over channels, in vector registers: pixels are lanes.

An image ``(C, H, W)`` has its pixels innermost, so a vector of them is read contiguously. A tile
of pixels, of several images if these are small, is copied into the first-level cache, its rows in
the order of the pivots; both triangles are substituted there, and the solution is written back:
one pass, as many products as ``W x``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from torch import Tensor

from emcheck.solve.compiled import KEEP
from emcheck.solve.threads import run_team
from emcheck.solve.vector import BLOCK, LANES, as_pointer, copy_run, substitute_pair, take_next

#: Bytes of one thread's tile: half of a usual first-level cache.
_CACHE = 1 << 14

#: Most pairs of vectors in a tile: 512 contiguous bytes of a row are then read.
_MOST = 4

#: A diagonal outside this range is divided by, since its reciprocal could over- or underflow.
_SAFE = 2.0**100

#: Runs of tiles for each thread: one that starts late leaves runs to the others, and within a run
#: no two threads write to neighbouring lines of memory.
_RUNS = 8

#: A task: the next run; B, C, pixels of an image and of a tile, tiles of a run, whether to divide
#: by the diagonal, the size of one packed triangle; then the addresses of both triangles, of the
#: order of the rows, of z and of x.
_FIELDS, _ADDRESSES = 12, 8

#: Products that are worth one more thread.
_WORTH_A_THREAD = 1 << 18


@njit(nogil=True, cache=KEEP)
def _pack(factors, packed):
    """Pack both triangles of ``factors (C, C)`` as ``substitute_pair`` reads them.

    The upper one is turned around, so that it is lower too. Return whether to divide by its
    diagonal, because the reciprocal of an entry is out of range.
    """
    C, at, outside = len(factors), 0, 0
    for c in range(C):
        outside += not 1 / _SAFE < abs(factors[c, c]) < _SAFE
    for half in range(2):
        for o in range(0, C, BLOCK):
            K = min(BLOCK, C - o)
            for c in range(o + K):
                for m in range(o, o + K):
                    if half:
                        packed[at] = factors[C - 1 - m, C - 1 - c]
                    elif c == m:
                        packed[at] = 1
                    else:
                        packed[at] = factors[m, c]
                    at += 1
            for m in range(o, o + K):
                d = factors[C - 1 - m, C - 1 - m]
                packed[at] = 1 if not half else d if outside else 1 / d
                at += 1
    return outside > 0


@njit(nogil=True, cache=KEEP, inline="always")
def _triangle(tile, base, stride, none, packed, C, divide, L):
    """Substitute forward in two vectors of pixels, block by block."""
    at = 0
    for o in range(0, C, BLOCK):
        K = min(BLOCK, C - o)
        substitute_pair(tile, base, stride, none, 0, packed, at, C, o, K, divide, 0, L)
        at += K * (o + K + 1)


@functools.cache
def _thread_of(size: int):
    """Return the C function that works on a task's tiles until none is left."""
    dtype = np.float32 if size == 4 else np.float64
    L = LANES[size]

    def work(address):
        task = carray(address, (_FIELDS,), np.int64)
        B, C, N, P, run, divide, length = task[1:_ADDRESSES]
        packed = carray(as_pointer(task[_ADDRESSES]), (2 * length,), dtype)
        order = carray(as_pointer(task[_ADDRESSES + 1]), (C,), np.int64)
        z = carray(as_pointer(task[_ADDRESSES + 2]), (B * C * N,), dtype)
        x = carray(as_pointer(task[_ADDRESSES + 3]), (B * C * N,), dtype)
        lower, upper = packed[:length], packed[length:]
        tile, none = np.zeros(C * P, dtype), order[:0]
        while True:
            first = take_next(task) * run * P
            if first >= B * N:
                return
            for start in range(first, min(first + run * P, B * N), P):
                end = min(start + P, B * N)
                p = start
                while p < end:
                    n = min(N - p % N, end - p)
                    image = p // N * C * N + p % N
                    for c in range(C):
                        copy_run(z, image + order[c] * N, tile, c * P + p - start, n)
                    p += n
                for p in range(0, end - start, 2 * L):
                    _triangle(tile, p, P, none, lower, C, False, L)
                    _triangle(tile, (C - 1) * P + p, -P, none, upper, C, divide != 0, L)
                p = start
                while p < end:
                    n = min(N - p % N, end - p)
                    image = p // N * C * N + p % N
                    for c in range(C):
                        copy_run(tile, c * P + p - start, x, image + c * N, n)
                    p += n

    return cfunc(types.void(types.voidptr), cache=KEEP)(work)


def solve(factors: Tensor, order: Sequence[int], z: Tensor) -> Tensor:
    """Return the ``x (B, C, H, W)`` with ``L U x = z[:, order]`` in every pixel.

    ``factors (C, C)`` holds ``U`` with its diagonal, which has no zero, and below it the strict
    part of the unit triangle ``L``, as ``torch.linalg.lu_factor`` returns them.

    As many threads as torch may use share the tiles. Cost: ``B H W C^2`` products; memory: the
    result and, for each thread, 16 kB or two vectors of pixels.
    """
    B, C, H, W = z.shape
    x = torch.empty_like(z, memory_format=torch.contiguous_format)
    if z.numel() == 0:
        return x
    N, L, size = H * W, LANES[z.element_size()], z.element_size()
    P = 2 * L * max(1, min(_MOST, _CACHE // (2 * C * L * size)))
    tiles = -(-B * N // P)
    source = z.resolve_neg().contiguous()
    matrix = factors.resolve_neg().contiguous().numpy()
    packed = np.empty(2 * _length(C), matrix.dtype)
    divide = _pack(matrix, packed)
    rows = np.array(order, np.int64)
    threads = min(tiles, torch.get_num_threads(), 1 + z.numel() * C // _WORTH_A_THREAD)
    addresses = packed.ctypes.data, rows.ctypes.data, source.data_ptr(), x.data_ptr()
    run = -(-tiles // (threads * _RUNS))
    task = np.array([0, B, C, N, P, run, divide, _length(C), *addresses], np.int64)
    run_team(_thread_of(size).address, task.ctypes.data, threads)
    return x


def _length(C: int) -> int:
    """Return the number of entries of one packed triangle."""
    return sum(min(BLOCK, C - o) * (o + min(BLOCK, C - o) + 1) for o in range(0, C, BLOCK))
