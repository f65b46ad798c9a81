"""Chains of masked convolutions in vector registers: geometry, buffers, and one call for all.

``LANES`` samples fill the vectors of this CPU, lanes innermost, so small images are as
efficient as large ones. A chain stays in one thread's buffers, with zeros around every image:
an image is read once and written once, however many convolutions there are. torch would start
dozens of operations for a few hundred thousand products.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from emcheck.solve.compiled import KEEP
from emcheck.solve.masks import Link, live_offsets
from emcheck.solve.threads import run_team
from emcheck.solve.vector import LANES, transpose_in, transpose_out

#: Bytes of one thread's buffers up to which a chain in one call is faster. Measured at 12, 24 and
#: 48 channels, one and two threads, with 1 MB of second-level cache: 0.4 to 0.96 of the time up to
#: here, 0.9 to 1.8 beyond.
_CACHE = 1 << 22

#: The same for so few channels that ``conv2d`` writes out all pixels below every tap: measured at
#: one to seven channels up to 18 MB, 0.01 to 0.5 of the time forward, 0.02 to 0.6 in training.
_FEW, _ROOM_OF_FEW = 8, 1 << 25

#: Numbers in a batch that are worth one more thread.
_WORTH_A_THREAD = 1 << 14

#: A task is one block of integers that all threads share: the next group; B, C, H, W, zeros around
#: an image, links of the chain, taps of a link, groups, a choice of the function's own; then the
#: addresses of the taps and of whatever the task reads and writes.
FIELDS, ADDRESSES = 20, 10

#: A tap of a link: its offset ``(di, dj)``, its place in the kernel, whether it is the centre.
TAP = 5


@njit(nogil=True, cache=KEEP, inline="always")
def load(source, starts, buffer, where, HW, C):
    """The images of ``LANES`` samples that begin at ``starts``, to their places in a buffer."""
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
def store(buffer, where, target, starts, HW, C):
    """The way back of ``load``."""
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
def places_of(H, W, length, margin, pixel):
    """Where each pixel begins in a buffer whose rows are ``length`` pixels long."""
    where = np.empty(H * W, np.int64)
    for i in range(H):
        for j in range(W):
            where[i * W + j] = ((margin + i) * length + margin + j) * pixel
    return where


@njit(nogil=True, cache=KEEP)
def offsets_of(taps, length, pixel, sign):
    """How far each tap ``(links, T)`` lies from its pixel, the other way for ``sign`` -1."""
    offsets = np.empty(taps.shape[:2], np.int64)
    for n in range(len(taps)):
        for t in range(taps.shape[1]):
            offsets[n, t] = sign * (taps[n, t, 0] * length + taps[n, t, 1]) * pixel
    return offsets


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
    shape: tuple[int, ...],
    size: int,
    kernel_sizes: tuple[int, ...],
    links: tuple[Link, ...],
    buffers: int,
) -> Plan | None:
    """Return the plan for ``x`` of a shape and an item size, None if another way is faster.

    Another way is if under half of the lanes hold a sample, or if so many buffers of a thread are
    too large.
    """
    B, C, H, W = shape
    L, first = LANES[size], links[0]
    margin = kernel_sizes[0] // 2 * first.dilation
    alike = {(k, l.mask, l.dilation) for k, l in zip(kernel_sizes, links, strict=True)}
    room = buffers * (H + 2 * margin) * (W + 2 * margin) * C * L * size
    most = _ROOM_OF_FEW if C < _FEW else _CACHE
    if len(alike) > 1 or room > most or 0 in shape or 2 * B < L * -(-B // L):
        return None
    taps = np.stack([_taps(kernel_sizes[0], link, H, W) for link in links])
    groups = -(-B // L)
    head = (0, B, C, H, W, margin, len(links), taps.shape[1], groups, 0)
    task = np.array([*head, *[0] * (FIELDS - len(head))], np.int64)
    return Plan(taps, links, task, min(groups, 1 + B * C * H * W // _WORTH_A_THREAD))


def _taps(kernel_size: int, link: Link, H: int, W: int) -> NDArray[np.int64]:
    r, n, sign = kernel_size // 2, kernel_size - 1, -1 if link.reverse else 1
    rows = [
        (sign * i, sign * j, *((n - a, n - b) if link.reverse else (a, b)), 0)
        for (a, b), (i, j) in live_offsets(kernel_size, link.mask, link.dilation, H, W).items()
    ]
    return np.array([*rows, (0, 0, r, r, 1)], np.int64)


def plain(tensor: Tensor) -> Tensor:
    """The numbers of a tensor as compiled code reads them."""
    return tensor.detach().resolve_neg().contiguous()


def run(function: int, plan: Plan, choice: bool, tensors: tuple[Tensor, ...]) -> None:
    """Run a C function over the groups of a plan; its task has the addresses of the tensors."""
    task = plan.task.copy()
    task[ADDRESSES - 1] = choice
    addresses = [plan.where, *(tensor.data_ptr() for tensor in tensors)]
    task[ADDRESSES : ADDRESSES + len(addresses)] = addresses
    run_team(function, task.ctypes.data, min(plan.threads, torch.get_num_threads()))
