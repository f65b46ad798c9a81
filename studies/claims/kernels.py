"""Kernels of two convolutions in a row, and which ones a pair of square masks reaches."""

from __future__ import annotations

import numpy as np

from emcheck.oracle import masked
from emcheck.oracle.matrices import MaskName
from emcheck.oracle.precision import Array


def compose(second: Array, first: Array) -> Array:
    """The kernel of ``conv(second, conv(first, x))`` away from borders, ``(C, C, k, k)``.

    Only for a pair that fits: taps of the product outside of ``k x k`` must be zero.
    """
    k, r = first.shape[-1], first.shape[-1] // 2
    out = np.zeros((len(second), first.shape[1], 2 * k - 1, 2 * k - 1), np.result_type(first))
    for a, b in np.ndindex(k, k):
        for c, d in np.ndindex(k, k):
            out[:, :, a + c, b + d] += second[:, :, a, b] @ first[:, :, c, d]
    return out[:, :, r : r + k, r : r + k]


def reversed_square(weight: Array, flip_channels: bool = True) -> Array:
    """The reversed square mask; without the channel flip the centre is lower triangular too."""
    out = masked(weight, "square", True)
    if not flip_channels:
        r = weight.shape[-1] // 2
        out[:, :, r, r] = np.tril(weight[:, :, r, r])
    return out


def dimension(second: Array, first: Array, flip_channels: bool = True) -> tuple[int, float]:
    """Dimension of the kernels around one pair: the rank of the derivative of ``compose``.

    ``compose`` is linear in each of the two, so the derivative by a tap is exact: the
    composition with that tap set to 1 and all others to 0. Also the gap: the smallest
    singular value that counts over the largest that does not.
    """
    shape, columns = first.shape, []
    for side in range(2):
        live = masked(np.ones(shape), "square", False)
        live = reversed_square(np.ones(shape), flip_channels) if side else live
        for index in np.argwhere(live != 0):
            unit = np.zeros(shape)
            unit[tuple(index)] = 1.0
            pair = (second, unit) if side else (unit, first)
            columns.append(compose(*pair).reshape(-1))
    singular = np.linalg.svd(np.array(columns, np.float64), compute_uv=False)
    ratios = singular[:-1] / np.maximum(singular[1:], np.finfo(np.float64).tiny)
    rank = int((singular > len(columns) * np.finfo(np.float64).eps * singular[0]).sum())
    return rank, float(ratios[rank - 1]) if rank < len(singular) else float("inf")


def products_of_taps(C: int, k: int) -> Array:
    """``compose`` as numbers ``(k^2 C^2, n, n)``: entry, live tap of the second, of the first."""
    shape = (C, C, k, k)
    units = []
    for live in (masked(np.ones(shape), "square", False), reversed_square(np.ones(shape))):
        places = np.argwhere(live != 0)
        ones = np.zeros((len(places), *shape))
        ones[(np.arange(len(places)), *places.T)] = 1.0
        units.append(ones)
    products = [[compose(second, first).reshape(-1) for first in units[1]] for second in units[0]]
    return np.moveaxis(np.array(products), -1, 0)


def formula_of_dimension(C: int, k: int, flip_channels: bool = True) -> float:
    """``(2 (r+1)^2 - 1) C^2``: 7 C^2 for k = 3, 17 C^2 for k = 5; without the flip C(C-1)/2 less.

    Each kernel has ``(r+1)^2 - 1`` free taps and a triangular centre, ``C(C+1)/2``; a matrix
    that is triangular both ways (C numbers), or without the flip one way (C(C+1)/2), can move
    from one to the other and changes nothing.
    """
    taps = ((k // 2 + 1) ** 2 - 1) * C * C
    triangle = C * (C + 1) / 2
    return 2 * (taps + triangle) - (C if flip_channels else triangle)


def support(mask: MaskName, reverse: bool, k: int = 3) -> Array:
    """Which taps of a mask are live, ``(k, k)``, whatever the channels."""
    return np.asarray(masked(np.ones((1, 1, k, k)), mask, reverse)[0, 0] != 0)


def support_of_pair(first: Array, second: Array) -> Array:
    """Which pixels two kernels ``(k, k)`` in a row see, ``(2k - 1, 2k - 1)``."""
    k = len(first)
    out = np.zeros((2 * k - 1, 2 * k - 1), bool)
    for a, b in np.argwhere(second):
        out[a : a + k, b : b + k] |= first
    return out
