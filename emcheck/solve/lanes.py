"""Substitution in vector registers on the CPU, compiled by Numba without a C compiler.

Every lane of a vector runs its own substitution, so no lane waits for another and the work
is that of a matrix product. The cheaper of two kinds of lanes is chosen:

- *samples*: ``LANES`` samples side by side; pixels follow in raster order;
- *rows*: ``LANES`` rows of one sample, each ``s`` columns behind the row above (``s = 1`` for a
  square mask, ``r + 1`` for a raster mask), so that what a pixel needs is always there.

Both pass a padded buffer with lanes innermost to the same inner loop, which substitutes
through the triangular centre tap. Rows are packed and unpacked a few at a time by transposes
in registers, while they are in the cache. ``reverse`` reverses the order of reading.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from numpy.typing import NDArray
from torch import Tensor

from emcheck.solve.compiled import KEEP
from emcheck.solve.masks import Link, Mask, live_offsets
from emcheck.solve.threads import run_team
from emcheck.solve.vector import (
    BLOCK,
    LANES,
    as_pointer,
    publish,
    substitute_block,
    take_next,
    transpose_in,
    transpose_out,
    wait_for,
)

#: Bytes of one thread's buffer of rows: half of a usual second-level cache.
_CACHE = 1 << 18

#: A diagonal outside this range is divided by, since its reciprocal could over- or underflow.
_SAFE = 2.0**100

#: A task is one block of integers that all threads share: the next group; B, C, H, W; whether to
#: divide, whether reversed, slope, lanes, groups, blocks between two looks at the band above; then
#: address and size of the packed weights, addresses of z and x, address and length of the offsets
#: of the taps, address of the progress of the groups.
_FIELDS, _GROUPS, _ADDRESSES = 18, 9, 11

#: Numbers in a latent that are worth one more thread.
_WORTH_A_THREAD = 1 << 14

#: Products that take as long as skewing one number of a vector of rows, measured at 12 and at 48
#: channels: for a vector, rows cost 2.5 and 1.4 times as much as samples.
_SKEW = 72


@functools.cache
def packed_size(channels: int, taps: int) -> int:
    """Numbers that ``pack_triangles`` writes for so many taps, the centre among them."""
    blocks = ((o, min(BLOCK, channels - o)) for o in range(0, channels, BLOCK))
    return sum(K * ((taps - 1) * channels + o + K + 1) for o, K in blocks)


@njit(nogil=True, cache=KEEP)
def pack_triangles(weight, taps, turned, adjoint, packed):
    """Blocks of ``BLOCK`` outputs: taps, earlier inputs of the centre, triangle, diagonal.

    ``taps (T, ...)`` begin with two indices into the kernel, the centre last. ``turned`` takes
    channels in the order from last to first, ``adjoint`` exchanges inputs and outputs.

    Returns whether to divide by the diagonal because an entry is out of range for its
    reciprocal, and ``sum_c log|w[c,c,r,r]|``.
    """
    C, T = weight.shape[0], len(taps)
    outside, logabsdet, at = 0, 0.0, 0
    for c in range(C):
        d = abs(np.float64(weight[c, c, taps[T - 1, 0], taps[T - 1, 1]]))
        outside += not 1 / _SAFE < d < _SAFE
        logabsdet += np.log(d)
    for o in range(0, C, BLOCK):
        K = min(BLOCK, C - o)
        for t in range(T):
            a, b = taps[t, 0], taps[t, 1]
            for c in range(C if t + 1 < T else o + K):
                for m in range(K):
                    p, q = (C - 1 - o - m, C - 1 - c) if turned else (o + m, c)
                    packed[at] = weight[q, p, a, b] if adjoint else weight[p, q, a, b]
                    at += 1
        triangle = at - K * K
        for m in range(K):
            d = packed[triangle + m * K + m]
            packed[at] = d if outside else 1 / d
            at += 1
    return outside > 0, logabsdet


@njit(nogil=True, cache=KEEP, inline="always")
def substitute_pixels(buffer, base, stride, offsets, first, weights, C, divide, low, high):
    """All channels of one vector of pixels, block by block."""
    at = 0
    for o in range(0, C, BLOCK):
        K = min(BLOCK, C - o)
        substitute_block(
            buffer, base, stride, offsets, first, weights, at + first * C * K,
            C, o, K, divide, low, high,
        )  # fmt: skip
        at += K * (len(offsets) * C + o + K + 1)


@njit(nogil=True, cache=KEEP)
def _solve_samples(z, x, C, H, W, weights, divide, reach, reverse, starts):
    """Solve ``LANES`` samples that begin at ``starts``; ``reach (T, 2)`` holds taps' offsets."""
    L, T = len(starts), len(reach)
    HW, halo, lead, trail = H * W, 0, 0, 0
    for t in range(T):
        halo = max(halo, -reach[t, 0])
        lead, trail = max(lead, -reach[t, 1]), max(trail, reach[t, 1])
    length, pixel = lead + W + trail, C * L
    # Rows at a time: as many as the cache holds, at least enough for one transpose.
    rows = min(H, max(1, _CACHE // (length * pixel * z.itemsize), (L + W - 1) // W))
    slots = halo + rows
    buffer = np.zeros(slots * length * pixel, z.dtype)
    where = np.empty(rows * W, np.int64)
    offsets = np.empty(T, np.int64)
    for top in range(0, H, rows):
        N = min(rows, H - top) * W
        begin = HW - top * W - N if reverse else top * W
        for m in range(N):
            q = N - 1 - m if reverse else m
            where[m] = (((top + q // W) % slots) * length + lead + q % W) * pixel
        for c in range(C):
            start = (C - 1 - c if reverse else c) * HW + begin
            if N >= L:
                for m in range(0, N - L + 1, L):
                    transpose_in(z, starts, start + m, buffer, where, m, c * L)
                if N % L:
                    transpose_in(z, starts, start + N - L, buffer, where, N - L, c * L)
            else:
                for m in range(N):
                    for l in range(L):
                        buffer[where[m] + c * L + l] = z[starts[l] + start + m]
        for i in range(top, top + N // W):
            mine, first = i % slots, 0
            for t in range(T):
                if i + reach[t, 0] < 0:
                    first = t + 1
                source = (i + reach[t, 0]) % slots
                offsets[t] = ((source - mine) * length + reach[t, 1]) * pixel
            base = (mine * length + lead) * pixel
            for j in range(W):
                substitute_pixels(
                    buffer, base + j * pixel, L, offsets, first, weights, C, divide, 0, L
                )
        for c in range(C):
            start = (C - 1 - c if reverse else c) * HW + begin
            if N >= L:
                for m in range(0, N - L + 1, L):
                    transpose_out(buffer, where, m, c * L, x, starts, start + m)
                if N % L:
                    transpose_out(buffer, where, N - L, c * L, x, starts, start + N - L)
            else:
                for m in range(N):
                    for l in range(L):
                        x[starts[l] + start + m] = buffer[where[m] + c * L + l]


@njit(nogil=True, cache=KEEP)
def _solve_bands(task, z, x, weights, reach, progress):
    """Solve bands of ``L`` rows until none is left; lane ``l`` is at column ``t - slope l``.

    A band follows the one above it ``chunk`` blocks of ``L`` steps at a time; ``progress`` holds
    how many columns of each are done. Bands are taken in order, so that one that others wait for is
    always being worked on.
    """
    B, C, H, W, divide, reverse, slope, L, groups, chunk = task[1:_ADDRESSES]
    T = len(reach)
    halo, early = 0, 0
    for t in range(T):
        halo = max(halo, -reach[t, 0])
        early = max(early, -(slope * reach[t, 0] + reach[t, 1]))
    steps = W + slope * (L - 1)
    blocks = (steps + L - 1) // L
    width = halo + L
    step = C * width
    buffer = np.zeros((early + blocks * L) * step, z.dtype)
    margin = slope * (L - 1)
    length = margin + blocks * L + L
    band = np.zeros(C * L * length, z.dtype)
    starts = np.empty(L, np.int64)
    where = np.empty(blocks * L, np.int64)
    offsets = np.empty(T, np.int64)
    for t in range(T):
        offsets[t] = (slope * reach[t, 0] + reach[t, 1]) * step + reach[t, 0]
    for t in range(blocks * L):
        where[t] = (early + t) * step + halo
    for l in range(L):
        starts[l] = l * length + margin - slope * l
    while True:
        group = take_next(task)
        if group >= groups:
            return
        begin, top = group % B * C * H * W, group // B * L
        n = min(L, H - top)
        for c in range(C):
            plane = begin + (C - 1 - c if reverse else c) * H * W
            for l in range(L):
                row = (c * L + l) * length + margin
                if l >= n:
                    for j in range(W):
                        band[row + j] = 0
                elif reverse:
                    last = plane + (H - top - l) * W - 1
                    for j in range(W):
                        band[row + j] = z[last - j]
                else:
                    start = plane + (top + l) * W
                    for j in range(W):
                        band[row + j] = z[start + j]
            for b in range(blocks):
                transpose_in(band, starts, c * L * length + b * L, buffer, where, b * L, c * width)
        for block in range(0, blocks, chunk):
            until = min(block + chunk, blocks)
            if top:
                wait_for(progress, group - B, min(W, until * L + slope * halo))
            for c in range(C):
                plane = begin + (C - 1 - c if reverse else c) * H * W
                for h in range(halo):  # lane h - halo: a row of the band above
                    i, ahead = top + h - halo, slope * (halo - h) - early
                    last = plane + (H - i) * W - 1
                    for e in range(block * L + (early if block else 0), early + until * L):
                        j = e + ahead
                        place = e * step + c * width + h
                        if i < 0 or j < 0 or j >= W:
                            buffer[place] = 0
                        else:
                            buffer[place] = x[last - j] if reverse else x[plane + i * W + j]
            for t in range(block * L, min(until * L, steps)):
                # column t - slope l inside [0, W): lanes from low to high - 1
                low = max(0, (t - W + slope) // slope)
                high = min(n, t // slope + 1)
                substitute_pixels(
                    buffer, where[t], width, offsets, 0, weights, C, divide != 0, low, high
                )
            for c in range(C):
                plane = begin + (C - 1 - c if reverse else c) * H * W
                for b in range(block, until):
                    transpose_out(
                        buffer, where, b * L, c * width, band, starts, c * L * length + b * L
                    )
                for l in range(n):
                    row = (c * L + l) * length + margin
                    first = max(0, block * L - slope * l)
                    after = min(W, until * L - slope * l)
                    if reverse:
                        last = plane + (H - top - l) * W - 1
                        for j in range(first, after):
                            x[last - j] = band[row + j]
                    else:
                        start = plane + (top + l) * W
                        for j in range(first, after):
                            x[start + j] = band[row + j]
            publish(progress, group, W if until == blocks else until * L - margin)


@njit(nogil=True, cache=KEEP)
def _arrays(task, dtype):
    """Return the arrays at a task's addresses: packed weights, latent, result, reach, progress."""
    B, C, H, W = task[1:5]
    packed, size, z, x, reach, taps, progress = task[_ADDRESSES:]
    return (
        carray(as_pointer(packed), (size,), dtype),
        carray(as_pointer(z), (B * C * H * W,), dtype),
        carray(as_pointer(x), (B * C * H * W,), dtype),
        carray(as_pointer(reach), (taps, 2), np.int64),
        carray(as_pointer(progress), (task[_GROUPS],), np.int64),
    )


@functools.cache
def _thread_of(samples: bool, size: int):
    """Return the C function that works on a task's groups until none is left.

    It is compiled on demand: a call compiles only the kind of lanes and the dtype that it needs.
    """
    dtype = np.float32 if size == 4 else np.float64

    def by_samples(address):
        task = carray(address, (_FIELDS,), np.int64)
        B, C, H, W, divide, reverse, _, lanes, groups, _ = task[1:_ADDRESSES]
        packed, z, x, reach, _ = _arrays(task, dtype)
        starts = np.empty(lanes, np.int64)
        while True:
            group = take_next(task)
            if group >= groups:
                return
            for l in range(lanes):  # lanes without a sample repeat the last one
                starts[l] = min(group * lanes + l, B - 1) * C * H * W
            _solve_samples(z, x, C, H, W, packed, divide != 0, reach, reverse != 0, starts)

    def by_rows(address):
        task = carray(address, (_FIELDS,), np.int64)
        packed, z, x, reach, progress = _arrays(task, dtype)
        _solve_bands(task, z, x, packed, reach, progress)

    return cfunc(types.void(types.voidptr), cache=KEEP)(by_samples if samples else by_rows)


@functools.lru_cache(maxsize=128)
def _geometry(
    kernel_size: int, mask: Mask, reverse: bool, dilation: int, H: int, W: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Live taps ``(T + 1, 2)``, the centre last, and where they look ``(T, 2)``, not reversed."""
    offsets, r = live_offsets(kernel_size, mask, dilation, H, W), kernel_size // 2
    taps = np.array([*offsets, (r, r)], np.int64)
    reach = np.array(list(offsets.values()), np.int64).reshape(-1, 2)
    return kernel_size - 1 - taps if reverse else taps, reach


def substitute(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """The ``x (B, C, H, W)`` with ``conv(weight, x) = z``, for masked ``weight (C, C, k, k)``.

    As many threads as torch may use share the groups. Cost: ``B H W C^2`` times the number of live
    taps; memory: the result and, for each thread, a quarter of a megabyte or one band of rows.
    """
    return invert(weight, z, Link(mask, bool(reverse), dilation))[0]


def invert(weight: Tensor, z: Tensor, link: Link) -> tuple[Tensor, float]:
    """Return the same ``x`` and ``sum_c log|w[c,c,r,r]|``; dead taps are not used."""
    B, C, H, W = z.shape
    k, L = weight.shape[-1], LANES[z.element_size()]
    taps, reach = _geometry(k, link.mask, link.reverse, link.dilation, H, W)
    kernel = weight.detach().resolve_neg().contiguous().numpy()
    packed = np.empty(packed_size(C, len(taps)), kernel.dtype)
    divide, logabsdet = pack_triangles(kernel, taps, link.reverse, False, packed)
    x = torch.empty_like(z, memory_format=torch.contiguous_format)
    if z.numel() == 0:
        return x, logabsdet
    slope = 1 if link.mask == "square" else k // 2 + 1
    threads = min(torch.get_num_threads(), 1 + z.numel() // _WORTH_A_THREAD)
    samples = samples_are_cheaper((B, C, H, W), len(reach), slope, L, threads)
    groups = -(-B // L) if samples else B * -(-H // L)
    threads = min(groups, threads)
    chunk = 1 if threads > 1 else W + slope * L  # alone, nobody waits
    source, progress = z.detach().resolve_neg().contiguous(), np.zeros(groups, np.int64)
    sizes = 0, B, C, H, W, divide, link.reverse, slope, L, groups, chunk
    addresses = packed.ctypes.data, packed.size, source.data_ptr(), x.data_ptr()
    read = reach.ctypes.data, len(reach), progress.ctypes.data
    task = np.array([*sizes, *addresses, *read], np.int64)
    run_team(_thread_of(samples, z.element_size()).address, task.ctypes.data, threads)
    return x, logabsdet


def samples_are_cheaper(
    shape: tuple[int, int, int, int], taps: int, slope: int, lanes: int, threads: int
) -> bool:
    """Whether lanes of samples (the last ones idle) take less time than rows (a ramp, skewed).

    Groups of samples are few, bands of rows are many: only bands keep many threads busy.
    """
    B, C, H, W = shape
    groups, bands = -(-B // lanes), B * -(-H // lanes)
    of_samples = groups * H * W / min(groups, threads)
    of_rows = bands * (W + slope * (lanes - 1)) / min(bands, threads)
    return of_samples <= (1 + _SKEW / (C * (taps + 1))) * of_rows
