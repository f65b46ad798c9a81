"""Substitution on a GPU by skewed rows, in one Triton kernel: a thread for each row of a sample.

A program solves one band of up to ``ROWS`` rows of one sample. Lane ``l`` has row ``top + l`` and
is at column ``t - s l`` in step ``t``; the slope ``s`` (1 for a square mask, up to ``r + 1`` for
a raster mask) is the smallest for which everything that a pixel needs was done in earlier steps.
A step takes ``BLOCK`` channels at a time: it subtracts the taps, then the earlier channels of the
same pixel, then substitutes through the triangular centre tap and divides by its diagonal.

- *No program waits for another.* A band needs the band above it, so each band of rows is a launch
  of its own, in order on the stream, with one program for each sample. Up to ``_MOST_ROWS`` rows
  are one band, so usual images take one launch. Nothing spins, so nothing can deadlock, however
  few programs run at a time.
- *Stores are seen.* Lanes read what other lanes stored through global memory, with a barrier
  of the program, which also orders its memory accesses, after each block of channels.
- *Rounding.* Products are summed in the dtype of the data, without TF32, and quotients are
  rounded correctly, so rule T2 holds as for plain substitution.

Cost: ``B H W C^2`` products for each live tap and half of that for the centre tap, in
``ceil(H / ROWS)`` launches of ``W + s (ROWS - 1)`` steps. Memory carries ``z`` and ``x`` once or
twice and the weights once; the taps read ``x`` and ``w`` again from the cache of a multiprocessor.
A step has ``taps C ceil(C / BLOCK) + C`` rounds, each a few loads and ``BLOCK`` products. With a
warp for every 32 rows of a sample, usual batches do not fill a large GPU, so what should count is
the latency of a round, of the order of 50 ns: a tenth of a millisecond for images of 12x16x16 in
any batch up to a thousand, where ``tiles`` has dozens of launches of several microseconds each.
Not measured: no GPU at hand.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from emcheck.solve.masks import Mask, live_offsets

#: Rows of a band: a program has a thread for each, so that all channels of a pixel are in the
#: registers of one thread and substitution needs no exchange between threads.
_MOST_ROWS = 128

#: Output channels that a thread has in registers at a time.
_MOST_CHANNELS = 16


@triton.jit(do_not_specialize=["C", "H", "W", "taps", "slope", "top", "turned"])
def solve_band(
    z, x, weight, reach, C, H, W, taps, slope, top, turned,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Solve rows ``top ... top + ROWS - 1`` of sample ``program_id(0)``.

    ``weight (taps + 1, C in, C out)`` has the centre last; ``reach (taps, 2)`` says where the
    other taps look. ``turned`` is 1 if number ``n`` of a sample is its ``n``-th from the end.
    """
    plane = H.to(tl.int64) * W  # offsets are int64: a batch may have more than 2^31 numbers
    size = C * plane
    start = tl.program_id(0).to(tl.int64) * size + turned * (size - 1)
    sign = 1 - 2 * turned
    centre = weight + taps * C * C
    row = top + tl.arange(0, ROWS)
    out = tl.arange(0, BLOCK)
    for t in range(W + slope * (tl.minimum(ROWS, H - top) - 1)):
        column = t - slope * (row - top)
        here = (row < H) & (column >= 0) & (column < W)
        pixel = row.to(tl.int64) * W + column
        for o in range(0, C, BLOCK):
            channel = o + out
            live = channel < C
            place = start + sign * (channel[:, None] * plane + pixel[None, :])
            rest = tl.load(z + place, mask=live[:, None] & here[None, :], other=0.0)
            for tap in range(taps):
                up, left = tl.load(reach + 2 * tap), tl.load(reach + 2 * tap + 1)
                i, j = row + up, column + left
                known = here & (i >= 0) & (j >= 0) & (j < W)
                source = start + sign * (i.to(tl.int64) * W + j)
                for c in range(C):
                    w = tl.load(weight + (tap * C + c) * C + channel, mask=live, other=0.0)
                    earlier = tl.load(x + source + sign * (c * plane), mask=known, other=0.0)
                    rest -= w[:, None] * earlier[None, :]
            for c in range(o):
                w = tl.load(centre + c * C + channel, mask=live, other=0.0)
                earlier = tl.load(x + start + sign * (c * plane + pixel), mask=here, other=0.0)
                rest -= w[:, None] * earlier[None, :]
            for m in tl.static_range(BLOCK):
                c = o + m
                if c < C:
                    right = tl.sum(tl.where(out[:, None] == m, rest, 0.0), axis=0)
                    diagonal = tl.load(centre + c * C + c)
                    if weight.dtype.element_ty == tl.float32:
                        solved = tl.div_rn(right, diagonal)  # float32's / may be off by 2 ulp
                    else:
                        solved = right / diagonal
                    tl.store(x + start + sign * (c * plane + pixel), solved, mask=here)
                    w = tl.load(centre + c * C + channel, mask=live & (out > m), other=0.0)
                    rest -= w[:, None] * solved[None, :]
            tl.debug_barrier()


def variant(C: int, H: int) -> tuple[int, int]:
    """Return ``ROWS`` and ``BLOCK``, powers of two, for which the kernel is compiled."""
    rows, channels = triton.next_power_of_2(H), triton.next_power_of_2(C)
    return min(_MOST_ROWS, rows), min(_MOST_CHANNELS, channels)


def trial_shape(rows: int, channels: int) -> tuple[int, int, int, int]:
    """A shape ``(B, C, H, W)`` with this variant that has idle lanes, or a second band or block."""
    C = channels + 1 if channels == _MOST_CHANNELS else channels - (channels > 2)
    H = rows + 1 if rows == _MOST_ROWS else rows - (rows > 2)
    return 2, C, H, 5


@functools.lru_cache(maxsize=128)
def _geometry(
    k: int, mask: Mask, dilation: int, H: int, W: int, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    """Live taps ``(T + 1,)``, the centre last, where they look ``(T, 2)``, and the slope."""
    offsets = live_offsets(k, mask, dilation, H, W)  # (a, b) -> (di, dj)
    taps = [a * k + b for a, b in offsets] + [k // 2 * k + k // 2]
    # An earlier step: slope di + dj < 0, for each tap in an earlier row (di < 0).
    slope = 1 + max((dj // -di for di, dj in offsets.values() if di and dj > 0), default=0)
    reach = torch.tensor([*offsets.values()], dtype=torch.int32).reshape(-1, 2)
    return torch.tensor(taps, device=device), reach.to(device), slope


def substitute(
    weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int, most_rows: int = _MOST_ROWS
) -> Tensor:
    """The ``x (B, C, H, W)`` with ``conv(weight, x) = z``, for masked ``weight (C, C, k, k)``.

    Cost: ``B H W C^2`` times the number of live taps, in ``ceil(H / most_rows)`` launches;
    ``most_rows`` is a power of two. Memory: the result and the live taps of the weight.
    """
    B, C, H, W = z.shape
    x = torch.empty_like(z, memory_format=torch.contiguous_format)
    if z.numel() == 0:
        return x
    if reverse:
        weight = weight.flip(0, 1, 2, 3)
    live, reach, slope = _geometry(weight.shape[-1], mask, dilation, H, W, z.device)
    packed = weight.resolve_neg().flatten(2).permute(2, 1, 0).index_select(0, live).contiguous()
    source = z.resolve_neg().contiguous()
    rows, channels = variant(C, H)
    rows = min(rows, most_rows)
    with torch.cuda.device_of(z):  # Triton launches on the current device
        for top in range(0, H, rows):
            solve_band[(B,)](
                source, x, packed, reach, C, H, W, len(reach), slope, top, int(reverse),
                ROWS=rows, BLOCK=channels, num_warps=max(1, rows // 32), num_stages=1,
                enable_fp_fusion=True,
            )  # fmt: skip
    return x
