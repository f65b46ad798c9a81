"""Claim g: the log-det does not see the condition number."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import torch

from emcheck.layers import AutoregressiveConv2d
from emcheck.oracle import ConvFactor, masked
from emcheck.oracle.precision import Array
from studies.claims.core import Claim, Evidence, Fact, Row
from studies.claims.matrices import gaussian

#: Image sizes of the curves, and of the published weights.
SIZES, COMPLAINT = (2, 4, 6, 8, 12, 16, 20, 24, 28), (2, 4, 8)

#: Digits of the exact inverses; the worst loses 24.
_DIGITS = 60

_LAYERS = 100


def square_kernel(centre: float, neighbours: float) -> Array:
    """One channel, a square mask: centre and three equal neighbours, ``(1, 1, 3, 3)``."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, :2, :2] = neighbours
    weight[0, 0, 1, 1] = centre
    return weight


def inverse_taps(weight: Array, n: int) -> Array:
    """The long kernel ``g (n, n)`` of the inverse of a one-channel square mask, exactly.

    The inverse of a causal convolution is one: ``w0 g[i,j] = delta - sum_a w_a g[i-a,j-b]``.
    """
    taps = {(a, b): mpmath.mpf(float(weight[0, 0, 1 - a, 1 - b])) for a in (0, 1) for b in (0, 1)}
    g: dict[tuple[int, int], mpmath.mpf] = {}
    with mpmath.workdps(_DIGITS):
        for i, j in np.ndindex(n, n):
            total = mpmath.mpf(int((i, j) == (0, 0)))
            for (a, b), tap in taps.items():
                if (a, b) != (0, 0):
                    total -= tap * g.get((i - a, j - b), mpmath.mpf(0))
            g[i, j] = total / taps[0, 0]
    return np.array([[float(g[i, j]) for j in range(n)] for i in range(n)])


def condition(weight: Array, n: int) -> float:
    """2-norm condition number of a one-channel square mask at ``n x n``, from the exact inverse."""
    A = np.asarray(ConvFactor(weight).matrix((1, n, n)), np.float64)
    g = inverse_taps(weight, n)
    inverse = np.zeros((n, n, n, n))
    for i, j in np.ndindex(n, n):
        inverse[i, j, : i + 1, : j + 1] = g[: i + 1, : j + 1][::-1, ::-1]
    return float(np.linalg.norm(A, 2) * np.linalg.norm(inverse.reshape(n * n, n * n), 2))


def certificate(weight: Array) -> float:
    """``rho = sum_a ||W0^-1 W_a||_2`` over the taps beside the centre.

    If ``rho < 1`` then ``A = W0 (I + E)`` with ``||E|| <= rho`` (a sum of shifts), so the
    condition number is at most ``cond(W0) (1 + rho) / (1 - rho)`` at every image size.
    """
    k = weight.shape[-1]
    inverse = np.linalg.inv(weight[:, :, k // 2, k // 2])
    taps = [weight[:, :, a, b] for a, b in np.ndindex(k, k) if (a, b) != (k // 2, k // 2)]
    return float(sum(np.linalg.norm(inverse @ tap, 2) for tap in taps))


def _round_trip(weight: Array, n: int) -> tuple[float, float]:
    """The relative error of ``inverse(forward(x))`` in float32, and the log-det."""
    layer = AutoregressiveConv2d(1)
    layer.weight.data.copy_(torch.from_numpy(weight))
    x = torch.from_numpy(gaussian("claim g", n, shape=(16, 1, n, n))).float()
    with torch.no_grad():
        z, logdet = layer(x)
        back = layer.inverse(z)[0]
    return float((back - x).norm() / x.norm()), float(logdet.abs().max())


def _curves(tap: float) -> tuple[list[Row], list[Fact]]:
    """Two kernels with log-det 0 at every size: one ill-conditioned, one harmless."""
    rows: list[Row] = []
    for neighbours in (tap, 0.5):
        weight = square_kernel(1.0, neighbours)
        for n in SIZES:
            error, logdet = _round_trip(weight, n)
            rows.append({
                "neighbours": neighbours, "size": n, "condition": condition(weight, n),
                "float32_round_trip": error, "log_det": logdet, "rho": certificate(weight),
            })  # fmt: skip
    ill, well = rows[: len(SIZES)], rows[len(SIZES) :]
    at_24 = ill[SIZES.index(24)]
    facts = [
        Fact("|log-det| of both kernels, all sizes", max(r["log_det"] for r in rows), "==", 0.0),
        Fact("condition at 24x24 with neighbours -0.5", at_24["condition"], ">=", 1e6),
        Fact("condition at every size with neighbours +0.5",
             max(row["condition"] for row in well), "<=", 8.0),
        Fact("float32 round-trip error at 24x24, -0.5 over +0.5",
             at_24["float32_round_trip"] / well[SIZES.index(24)]["float32_round_trip"], ">=",
             1000.0),
        Fact("growth of the condition from one size to the next with -0.5, smallest",
             min(b["condition"] / a["condition"] for a, b in itertools.pairwise(ill)),
             ">=", 1.5),
    ]  # fmt: skip
    return rows, facts


def _complaint() -> tuple[list[Row], list[Fact]]:
    """Weights as in a published complaint about the method: centre 0.0462, neighbours near 0.8."""
    weight = square_kernel(0.0462, 0.8)
    rows: list[Row] = [
        {"size": n, "condition": condition(weight, n), "rho": certificate(weight)}
        for n in COMPLAINT
    ]
    facts = [
        Fact(f"condition of the published weights at {n}x{n}", row["condition"], ">=", least)
        for (n, least), row in zip(((2, 1e3), (4, 1e9), (8, 1e20)), rows, strict=True)
    ]
    facts.append(Fact("their rho (at least 1: no certificate)", rows[0]["rho"], ">=", 1.0))
    return rows, facts


def _certified() -> tuple[list[Row], list[Fact]]:
    """Random layers that pass the sufficient test, against the bound that it promises."""
    rows: list[Row] = []
    for number in range(_LAYERS):
        C, n = 1 + number % 3, 3 + number % 5
        weight = masked(gaussian("claim g, layer", number, shape=(C, C, 3, 3)), "square", False)
        weight = np.asarray(weight, np.float64)
        centre = np.eye(C) + 0.3 * weight[:, :, 1, 1]
        weight[:, :, 1, 1] = centre
        wanted = (number + 1) / (_LAYERS + 1)
        weight *= wanted / certificate(weight)
        weight[:, :, 1, 1] = centre
        A = np.asarray(ConvFactor(weight).matrix((C, n, n)), np.float64)
        promised = np.linalg.cond(centre) * (1 + wanted) / (1 - wanted)
        found = float(np.linalg.cond(A))
        rows.append({"channels": C, "size": n, "rho": certificate(weight), "condition": found,
                     "promised": float(promised)})  # fmt: skip
    worst = max(row["condition"] / row["promised"] for row in rows)
    return rows, [Fact("condition of certified layers over what rho promises, largest", worst,
                       "<=", 1.0)]  # fmt: skip


def measure() -> Evidence:
    """Condition and round trip against image size at log-det 0, published weights, the test."""
    curves, of_curves = _curves(-0.5)
    complaint, of_complaint = _complaint()
    certified, of_certified = _certified()
    at = {(row["neighbours"], row["size"]): row for row in curves}
    ill, well = at[-0.5, 24], at[0.5, 24]
    verdict = (
        "Invisible: with log-det 0 at every size, neighbours -0.5 give a condition of "
        f"{ill['condition']:.1e} at 24x24 and a float32 round trip off by "
        f"{ill['float32_round_trip']:.0e} of x, +0.5 give {well['condition']:.1f} and "
        f"{well['float32_round_trip']:.0e}. rho = sum_a ||W0^-1 W_a|| < 1 is a sufficient test "
        "that costs one small inverse."
    )
    facts = [*of_curves, *of_complaint, *of_certified]
    tables = {"sizes": curves, "complaint": complaint, "certified": certified}
    return Evidence(facts, verdict, tables)


CLAIM = Claim(
    letter="g",
    name="conditioning",
    doubt="(Added by this project.) Is a layer with a harmless log-det safe to invert?",
    statement=(
        "Conditioning is invisible to the log-det: at log-det 0 the condition number, and with it "
        "the float32 round-trip error, can grow without bound with the image; "
        "rho < 1 excludes it."
    ),
    measure=measure,
    negations={"neighbours +0.5 in the place of -0.5": lambda: Evidence(_curves(0.5)[1], "")},
)
