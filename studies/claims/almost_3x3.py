"""Claim e: two autoregressive convolutions are a 3x3 convolution, up to three things."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.optimize import least_squares

from emcheck.bounds import EXACT_FIT, Arithmetic, compare
from emcheck.oracle import ConvFactor, masked, pointwise
from emcheck.oracle.precision import Array, as_extended
from studies.claims.core import Claim, Evidence, Fact, Row, rounding
from studies.claims.kernels import (
    compose,
    dimension,
    formula_of_dimension,
    products_of_taps,
    reversed_square,
    support,
    support_of_pair,
)
from studies.claims.matrices import gaussian, lu_without_pivoting

#: Kernel sizes of the border maps and their image; sizes and channels of the dimensions.
BORDERS, SIDE = (3, 5, 7), 10
_DIMENSIONS = ((3, 1), (3, 2), (3, 3), (3, 4), (5, 1), (5, 2), (5, 3))

#: Random targets and starts of each fit.
_TARGETS, _STARTS = 5, 3

_DOUBLE = Arithmetic.of(torch.float64)


def _pair(*key: object, C: int = 2, k: int = 3, flip: bool = True) -> tuple[Array, Array]:
    """A reversed square kernel and a square one, ``(C, C, k, k)`` each, in extended precision."""
    first, second = gaussian("claim e", *key, shape=(2, C, C, k, k))
    return reversed_square(first, flip), masked(second, "square", False)


def _borders(swapped: bool) -> tuple[list[Row], list[Fact]]:
    """Where the pair and the one convolution with their composed kernel differ."""
    rows: list[Row] = []
    facts: list[Fact] = []
    for k in BORDERS:
        first, second = _pair("borders", k, k=k)
        if swapped:
            first, second = second, first
        r, event = k // 2, (len(first), SIDE, SIDE)
        factors = [ConvFactor(weight) for weight in (first, second)]
        A1, A2 = (np.asarray(factor.matrix(event), np.float64) for factor in factors)
        pair, absolute = A2 @ A1, np.abs(A2) @ np.abs(A1)
        one = np.asarray(ConvFactor(compose(second, first)).matrix(event), np.float64)
        size = np.abs(pair - one).reshape(-1, SIDE, SIDE, len(pair)).max((0, 3))
        noise = _DOUBLE.gamma(2 * len(first) * k * k) * absolute.max()
        inner = size[r:, r:]
        outside = int((size > noise).sum() - (inner > noise).sum())
        facts += [
            rounding(f"k = {k}: pair against one convolution beyond the first {r} rows and columns",
                     compare(inner.max(), 0.0, noise, "T1")),
            Fact(f"k = {k}: pixels of the first {r} rows and columns where they differ",
                 outside, "==", SIDE**2 - (SIDE - r) ** 2),
        ]  # fmt: skip
        rows += [{"kernel": k, "i": i, "j": j, "difference": float(size[i, j])}
                 for i, j in np.ndindex(SIDE, SIDE)]  # fmt: skip
    return rows, facts


def _dimensions(flip: bool) -> tuple[list[Row], list[Fact]]:
    """The rank of the derivative against the formula, with and without the channel flip."""
    rows: list[Row] = []
    for k, C in _DIMENSIONS:
        for flipped in (True, False):
            first, second = _pair("dimension", k, C, C=C, k=k, flip=flipped and flip)
            rank, gap = dimension(second, first, flipped and flip)
            rows.append({
                "kernel": k, "channels": C, "channels_flipped": flipped, "dimension": rank,
                "formula": formula_of_dimension(C, k, flipped), "all_kernels": k * k * C * C,
                "gap": gap,
            })  # fmt: skip
    facts = [
        Fact(f"dimension for k = {row['kernel']}, C = {row['channels']}"
             f"{'' if row['channels_flipped'] else ', channels not flipped'}",
             row["dimension"], "==", row["formula"])
        for row in rows
    ]  # fmt: skip
    return rows, facts


def _absorption() -> tuple[list[Row], list[Fact]]:
    """``w2 * w1 * W x`` as ``(w2 G) * (G^-1 w1 W) x`` with ``U0 W = G U'``, borders included."""
    rows: list[Row] = []
    worst = []
    for C in (2, 3, 4):
        first, second = _pair("absorption", C, C=C)
        W = as_extended(gaussian("claim e, absorption", C, shape=(C, C)))
        G, _ = lu_without_pivoting(first[:, :, 1, 1] @ W)
        inverse = lower_inverse(G)
        left = np.einsum("omab,mc->ocab", second, G)
        right = np.einsum("om,mcab,cd->odab", inverse, first, W)
        outside = [np.abs(w - m).max() for w, m in (
            (left, masked(left, "square", False)), (right, reversed_square(right)))]  # fmt: skip
        event = (C, 5, 4)
        before = _product(second, first, W, event)
        after = _product(masked(left, "square", False), reversed_square(right), np.eye(C), event)
        sizes = (np.abs(second), np.abs(G), np.abs(inverse), np.abs(first), np.abs(W))
        absolute = _product(
            np.einsum("omab,mc->ocab", sizes[0], sizes[1] @ sizes[2]), sizes[3], sizes[4], event
        )
        measure = compare(after, before, _DOUBLE.gamma(20 * C) * absolute, "T1")
        worst.append(measure)
        rows.append({
            "channels": C, "difference": float(np.abs(after - before).max()),
            "largest_entry": float(np.abs(before).max()), "ratio": measure.ratio,
            "outside_of_the_masks": float(max(outside)),
            "condition_G": float(np.linalg.cond(np.asarray(G, np.float64))),
        })  # fmt: skip
    largest = max(worst, key=lambda measure: measure.ratio)
    return rows, [rounding("operator after the 1x1 was absorbed against before", largest)]


def lower_inverse(G: Array) -> Array:
    """The inverse of a unit lower triangular matrix in its own precision."""
    out = np.eye(len(G), dtype=G.dtype)
    for i in range(len(G)):
        out[i] -= G[i, :i] @ out[:i]
    return out


def _product(second: Array, first: Array, W: Array, event: tuple[int, int, int]) -> Array:
    """The matrix of ``second * first * W`` on an image."""
    whole = np.eye(int(np.prod(event)), dtype=as_extended(W).dtype)
    for factor in (pointwise(W), ConvFactor(as_extended(first)), ConvFactor(as_extended(second))):
        whole = factor.matrix(event) @ whole
    return whole


def residual(target: Array, *key: object) -> float:
    """``||compose - target|| / ||target||`` of the best pair found from several starts."""
    products = products_of_taps(target.shape[0], target.shape[-1])

    def error(numbers: Array) -> Array:
        second, first = np.split(numbers, 2)
        return np.asarray((products @ first) @ second - target.reshape(-1))

    def derivative(numbers: Array) -> Array:
        second, first = np.split(numbers, 2)
        by_second, by_first = products @ first, np.einsum("opq,p->oq", products, second)
        return np.concatenate([by_second, by_first], 1)

    starts = gaussian("claim e, start", *key, shape=(_STARTS, 2 * products.shape[1]))
    found = (least_squares(error, start, derivative, max_nfev=300) for start in starts)
    best = min(float(np.linalg.norm(fit.fun)) for fit in found)
    return best / float(np.linalg.norm(target))


def _fits() -> tuple[list[Row], list[Fact]]:
    """The best pair for random 3x3 kernels, and for kernels that a pair made."""
    rows: list[Row] = []
    for C in (1, 2):
        for n in range(_TARGETS):
            first, second = _pair("made", C, n, C=C)
            made = np.asarray(compose(second, first), np.float64)
            drawn = gaussian("claim e, target", C, n, shape=(C, C, 3, 3))
            for name, target in (("random", drawn), ("made by a pair", made)):
                rows.append({"channels": C, "target": name, "number": n,
                             "residual": residual(target, C, n)})  # fmt: skip
    facts = []
    for C in (1, 2):
        of = {name: [row["residual"] for row in rows
                     if row["channels"] == C and row["target"] == name]
              for name in ("random", "made by a pair")}  # fmt: skip
        facts += [
            Fact(f"C = {C}: smallest residual over random 3x3 kernels", min(of["random"]), ">=",
                 1000 * EXACT_FIT),
            Fact(f"C = {C}: median residual over kernels that a pair made",
                 float(np.median(of["made by a pair"])), "<=", EXACT_FIT),
        ]  # fmt: skip
    return rows, facts


def _fields() -> tuple[list[Row], list[Fact]]:
    """What every pair of masks sees, as text of 0 and 1 for each row of 5x5 pixels."""
    masks = {"square": ("square", False), "square, reversed": ("square", True),
             "raster": ("raster", False), "raster, reversed": ("raster", True)}  # fmt: skip
    rows: list[Row] = []
    for first, second in itertools.combinations_with_replacement(masks, 2):
        seen = support_of_pair(support(*masks[first]), support(*masks[second]))  # type: ignore[arg-type]
        rows.append({"first": first, "second": second, "pixels": int(seen.sum()),
                     "seen": _as_text(seen)})  # fmt: skip
    count = {(row["first"], row["second"]): row["pixels"] for row in rows}
    square = next(row["seen"] for row in rows
                  if (row["first"], row["second"]) == ("square", "square, reversed"))  # fmt: skip
    facts = [
        Fact("pixels that the square pair sees", count["square", "square, reversed"], "==", 9),
        Fact("of them outside of 3x3", square.count("1") - "".join(
            line[1:4] for line in square.split()[1:4]).count("1"), "==", 0),
        Fact("pixels that the raster pair sees", count["raster", "raster, reversed"], "==", 13),
    ]  # fmt: skip
    return rows, facts


def _as_text(seen: Array) -> str:
    return " ".join("".join(map(str, line)) for line in seen.astype(int))


def measure() -> Evidence:
    """Borders, dimension, absorption of a 1x1, best fits, receptive fields."""
    borders, of_borders = _borders(swapped=False)
    dimensions, of_dimensions = _dimensions(flip=True)
    absorption, of_absorption = _absorption()
    fits, of_fits = _fits()
    fields, of_fields = _fields()
    random = [row["residual"] for row in fits if row["target"] == "random"]
    verdict = (
        "Right, and this is what is missing: the first r rows and columns differ; the kernels "
        "that a pair reaches have 7 C^2 of 9 C^2 dimensions (17 C^2 of 25 C^2 for 5x5), so a "
        f"random 3x3 kernel is missed by {min(random):.0%} to {max(random):.0%} of its norm; a "
        "1x1 in front adds nothing, because it can be absorbed."
    )
    facts = [*of_borders, *of_dimensions, *of_absorption, *of_fits, *of_fields]
    tables = {"borders": borders, "dimensions": dimensions, "absorption": absorption,
              "fits": fits, "fields": fields}  # fmt: skip
    return Evidence(facts, verdict, tables)


CLAIM = Claim(
    letter="e",
    name="almost-3x3",
    doubt="Two autoregressive convolutions amount to a 3x3 convolution, but not exactly.",
    statement=(
        "The pair equals one k x k convolution except on the first r D rows and columns, reaches "
        "(2(r+1)^2 - 1) C^2 of k^2 C^2 dimensions, and absorbs a 1x1 in front of it."
    ),
    measure=measure,
    negations={
        "the square convolution first": lambda: Evidence(_borders(swapped=True)[1], ""),
        "channels not flipped": lambda: Evidence(_dimensions(flip=False)[1], ""),
    },
)
