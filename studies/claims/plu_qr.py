"""Claim d: PLU is not smaller than QR; it is cut into 2^C cells of which it sees one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from emcheck.bounds import SHARE_DEVIATIONS, Arithmetic, Measure
from emcheck.layers import Conv1x1, Conv1x1PLU, Conv1x1QR
from emcheck.oracle.precision import Array
from studies.claims.core import Claim, Evidence, Fact, Row, rounding
from studies.claims.matrices import gaussian, lu_without_pivoting, reflections_of

#: Whether PLU with ``P = I`` and positive signs reaches each of ``A (n, C, C)``.
Reach = Callable[[Array], Array]

CHANNELS = range(1, 7)
_DRAWS, _LOADED = 20_000, 50

#: Channels, optimiser steps and learning rate of the fits, and steps between two rows.
_C, _STEPS, _RATE, _EVERY = 4, 1500, 0.05, 50


def in_the_cell(A: Array) -> Array:
    """All pivots of LU without pivoting are positive: the signs of ``s`` are frozen."""
    _, U = lu_without_pivoting(A)
    return np.asarray((np.diagonal(U, axis1=-2, axis2=-1) > 0).all(-1))


def with_free_pivots(A: Array) -> Array:
    """What PLU would reach if P and the signs could change: every invertible matrix."""
    return np.asarray(np.linalg.det(A) != 0)


def _shares(reach: Reach) -> tuple[list[Row], list[Fact]]:
    """The share of Gaussian matrices that each parametrisation reaches from the identity."""
    rows: list[Row] = []
    facts: list[Fact] = []
    for C in CHANNELS:
        A = gaussian("claim d", C, shape=(_DRAWS, C, C))
        counts = {"PLU": int(reach(A).sum()), "QR": int((np.linalg.det(A) > 0).sum())}
        for name, count in counts.items():
            expected = 0.5**C if name == "PLU" else 0.5
            between = stats.binomtest(count, _DRAWS).proportion_ci(0.95, "exact")
            off = abs(count - _DRAWS * expected) / math.sqrt(_DRAWS * expected * (1 - expected))
            rows.append({
                "channels": C, "parametrisation": name, "share": count / _DRAWS,
                "low": between.low, "high": between.high, "expected": expected,
                "deviations": off, "matrices": _DRAWS,
            })  # fmt: skip
            facts.append(Fact(f"share that {name} reaches at C = {C} against {expected:.4g}, "
                              "in standard deviations", off, "<=", SHARE_DEVIATIONS))  # fmt: skip
    return rows, facts


def _loaded() -> Fact:
    """Every matrix of the right determinant sign has QR parameters: they are built, and run."""
    worst, arithmetic = 0.0, Arithmetic.of(torch.float64)
    for C in CHANNELS:
        layer = Conv1x1QR(C).double()
        for A in gaussian("claim d, loaded", C, shape=(_LOADED, C, C)):
            if np.linalg.det(A) * (-1) ** C < 0:
                continue  # the other component: C reflections and positive s cannot be there
            Q, R = np.linalg.qr(A)
            signs = np.where(np.diagonal(R) < 0, -1.0, 1.0)
            Q, R = Q * signs, signs[:, None] * R
            values = reflections_of(Q), np.triu(R, 1), np.diagonal(R).copy()
            for parameter, value in zip(layer.parameters(), values, strict=True):
                parameter.data.copy_(torch.from_numpy(value))
            error = np.abs(_matrix(layer).detach().numpy() - A).sum(0).max()
            size = C * np.abs(A).sum(0).max() * 2 * arithmetic.u
            worst = max(worst, float(error / size))
    return rounding("matrices of one determinant sign through Conv1x1QR", Measure(worst, "T7"))


def _matrix(layer: nn.Module) -> Tensor:
    """``W (C, C)``: what the layer does to unit vectors, whatever its parameters are."""
    C = next(layer.parameters()).shape[0]
    basis = torch.eye(C, dtype=torch.float64)[:, :, None, None]
    return layer(basis)[0][:, :, 0, 0].T


def _at_the_identity(name: str) -> nn.Module:
    """The layer in float64 with ``W = I``; PLU with ``P = I`` and positive signs."""
    if name == "dense":
        dense = Conv1x1(_C).double()
        dense.weight.data.copy_(torch.eye(_C))
        return dense
    if name == "PLU":
        plu = Conv1x1PLU(_C).double()
        plu.permutation.copy_(torch.arange(_C))
        plu.sign.fill_(1.0)
        for parameter in plu.parameters():
            parameter.data.zero_()
        return plu
    qr = Conv1x1QR(_C).double()
    vectors = torch.from_numpy(gaussian("claim d, vectors", shape=(_C // 2, _C)))
    qr.vectors.data.copy_(vectors.repeat_interleave(2, 0))  # two equal reflections are none
    return qr


def targets() -> dict[str, Array]:
    """Two rotations by 135 degrees (outside of the cell), and a reflection (determinant -1)."""
    c = math.sqrt(0.5)
    turn = np.array([[-c, -c], [c, -c]])
    return {
        "rotation": np.kron(np.eye(_C // 2), turn),
        "reflection": np.diag([-1.0, *[1.0] * (_C - 1)]),
    }


def _conditions(layer: nn.Module) -> dict[str, float]:
    """Condition numbers of ``W`` and of its triangular factors, where the layer has them."""
    W = _matrix(layer).detach().numpy()
    found = {"condition_W": float(np.linalg.cond(W)), "condition_L": 1.0, "condition_U": 1.0}
    if isinstance(layer, Conv1x1PLU):
        L, U = (factor.detach().numpy() for factor in layer._factors())
        found |= {"condition_L": float(np.linalg.cond(L)), "condition_U": float(np.linalg.cond(U))}
    if isinstance(layer, Conv1x1QR):
        found["condition_U"] = float(np.linalg.cond(layer._triangle().detach().numpy()))
    return found


def _fit(name: str, target: str) -> list[Row]:
    """``||W - T||_F^2`` over the steps of Adam, from the identity."""
    layer, T = _at_the_identity(name), torch.from_numpy(targets()[target])
    optimiser = torch.optim.Adam(layer.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    rows: list[Row] = []
    for step in range(_STEPS + 1):
        loss = (_matrix(layer) - T).square().sum()
        if step % _EVERY == 0:
            told = {"parametrisation": name, "target": target, "step": step}
            rows.append(told | {"loss": float(loss.detach())} | _conditions(layer))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return rows


def _fits() -> tuple[list[Row], list[Fact]]:
    rows = [row for t in targets() for name in ("PLU", "QR", "dense") for row in _fit(name, t)]
    last = {(row["target"], row["parametrisation"]): row for row in rows}
    first = {target: 2.0 * _C if target == "rotation" else 4.0 for target in targets()}
    facts = [
        Fact("PLU on the rotation: final squared distance (W[0,0] stays positive, so at least 1/2)",
             last["rotation", "PLU"]["loss"], ">=", 0.5),
        Fact("PLU on the reflection: final squared distance (the same, at least 1)",
             last["reflection", "PLU"]["loss"], ">=", 1.0),
        Fact("condition of L that PLU pays on the way to the border of its cell",
             last["rotation", "PLU"]["condition_L"], ">=", 10.0),
    ]  # fmt: skip
    facts += [
        Fact(f"{name} on the {target}: final squared distance over the first",
             last[target, name]["loss"] / first[target], "<=", 1e-6)
        for target in targets() for name in ("QR", "dense")
    ]  # fmt: skip
    return rows, facts


def measure() -> Evidence:
    """Shares for C = 1 to 6, QR parameters for given matrices, and fits outside of the cell."""
    shares, of_shares = _shares(in_the_cell)
    fits, of_fits = _fits()
    last = {(row["target"], row["parametrisation"]): row for row in fits}["rotation", "PLU"]
    plu = {row["channels"]: row["share"] for row in shares if row["parametrisation"] == "PLU"}
    verdict = (
        "Not less flexible in dimension (both have C^2 parameters), but less connected: with P "
        "and the signs frozen, PLU reaches one of 2^C cells, "
        f"{plu[2]:.1%} of Gaussian matrices at C = 2 and {plu[6]:.1%} at C = 6, QR one half at "
        "every C. A target outside of the cell it cannot fit (squared distance "
        f"{last['loss']:.2f}, condition of L {last['condition_L']:.0f}); QR and dense can."
    )
    return Evidence([*of_shares, _loaded(), *of_fits], verdict, {"shares": shares, "fits": fits})


CLAIM = Claim(
    letter="d",
    name="plu-qr",
    doubt="P is fixed in PLU, so PLU is less flexible than QR.",
    statement=(
        "PLU and QR have the same dimension C^2; with P and sign(s) frozen PLU reaches a share "
        "2^-C of Gaussian matrices, QR the half with its determinant sign, whatever C."
    ),
    measure=measure,
    negations={
        "P and the signs free to change": lambda: Evidence(_shares(with_free_pivots)[1], "")
    },
)
