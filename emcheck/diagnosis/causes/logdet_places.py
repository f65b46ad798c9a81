"""Log-dets at the wrong point, of the wrong direction or gate, or with a density included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from emcheck.bounds import BOTH_SIDES, SOLVED
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.causes.logdet_terms import wrong_directions
from emcheck.diagnosis.consequences import LOGDET
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle import slogdet
from emcheck.oracle.precision import Array


@hypothesis("logdet_at_latent", rank=MECHANISM - 1, when=WRONG, explains=LOGDET)
def at_the_latent(evidence: Evidence) -> Iterator[Fit]:
    """``inverse(z)`` returns minus the log-det of forward at z instead of at x."""
    examples = [e for e in evidence.inverse_logdets if np.isfinite(e.opposite).all()]
    wrong = [e for e in examples if e.off.any()]
    depends = any(np.ptp(e.expected) > e.bound.max() for e in examples)
    # If the inverse agrees with forward's log-det at x, the point is not the fault.
    told = [e for e in wrong if not e.fits(-e.opposite_there)]
    if depends and len(told) >= 2 and all(e.fits(-e.opposite) for e in examples):
        example = wrong[0]
        yield Fit(
            "logdet_at_latent",
            "The inverse evaluates the log-det at the latent z instead of at the data x.",
            f"got = -forward(z).logdet in {len(examples)} of {len(examples)} batches; "
            f"got {example.got[0]:.9g}, expected {example.expected[0]:.9g}",
        )


@hypothesis("slope_at_other_end", rank=MECHANISM - 1, when=WRONG, explains=LOGDET)
def slope_at_other_end(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is that of forward's Jacobian at z instead of at x."""
    for examples, which in wrong_directions(evidence):
        turned = 1.0 if which == "forward" else -1.0
        told, moved = [], 0
        for e in examples:
            trial = evidence.trial(e.case)
            at_x, at_z = (
                np.array([turned * slogdet(trial.jacobian(one))[0] for one in rows])
                for rows in (torch.from_numpy(v).to(trial.x) for v in (e.x, e.z))
            )
            moved += bool((np.abs(at_z - at_x) > 4 * e.bound).any())
            told.append(at_z)
        if moved < 2:  # the slopes are the same at both points and cannot tell which was used
            continue
        pairs = list(zip(examples, told, strict=True))
        telling = sum(bool((np.abs(t - e.expected) > 4 * e.bound).any()) for e, t in pairs)
        if telling >= 2 and all(e.fits(t) for e, t in pairs):
            yield Fit(
                "slope_at_other_end",
                f"The log-det of {which} is evaluated at the latent z instead of at the data x: "
                "the slopes at the wrong point.",
                f"got = {'-' if turned < 0 else ''}log|det J(z)| in {len(pairs)} of {len(pairs)} "
                f"batches; got {examples[0].got[0]:.9g}, expected {examples[0].expected[0]:.9g}",
            )
            return


def _gaussian(v: Array) -> Array:
    flat = v.reshape(len(v), -1)
    return np.asarray(-0.5 * (flat**2 + math.log(2 * math.pi)).sum(axis=1))


def _gaussian_without_constant(v: Array) -> Array:
    return np.asarray(-0.5 * (v.reshape(len(v), -1) ** 2).sum(axis=1))


_DENSITIES: Mapping[str, Callable[[Array], Array]] = {
    "standard normal log-density": _gaussian,
    "standard normal log-density (without its constant)": _gaussian_without_constant,
}


@hypothesis("density_in_logdet", rank=MECHANISM - 1, when=WRONG, explains=LOGDET)
def density_included(evidence: Evidence) -> Iterator[Fit]:
    """The log-det contains or subtracts the Gaussian log-density of the latent or of the data."""
    for examples, which in wrong_directions(evidence):
        for sign in (1.0, -1.0):
            for name, density in _DENSITIES.items():
                for end in ("latent", "data"):
                    values = [density(e.z if end == "latent" else e.x) for e in examples]
                    pairs = list(zip(examples, values, strict=True))
                    if all(e.fits(e.expected + sign * v) for e, v in pairs):
                        verb = "contains" if sign > 0 else "subtracts"
                        yield Fit(
                            "density_in_logdet",
                            f"The log-det of {which} {verb} the {name} of the {end}.",
                            f"got - expected = {sign * values[0][0]:.9g} = "
                            f"{'' if sign > 0 else '-'}log N({'z' if end == 'latent' else 'x'}) "
                            f"in {len(examples)} of {len(examples)} batches",
                        )
                        return


@hypothesis("log_det_of_other_direction", rank=MECHANISM, when=("log_det_alone_agrees",))
def other_direction(evidence: Evidence) -> Iterator[Fit]:
    """``log_det(x)`` returns the log-det of ``inverse(x)``, or minus that of forward."""
    rows = []
    for example in evidence.logdets:
        trial = evidence.trial(example.case)
        alone = trial.layer.log_det(trial.x)  # type: ignore[operator]
        rows.append((example, alone.detach().double().reshape(-1).numpy()))
    fits = all(not e.off.any() and e.fits(np.asarray(a)) is False for e, a in rows)
    for told, predict in (
        ("that of the other direction, `inverse`", lambda e: e.opposite),
        ("minus that of forward", lambda e: -e.expected),
    ):
        if fits and rows and all(_near(e, a, predict(e)) for e, a in rows):
            example, alone = rows[0]
            yield Fit(
                "log_det_of_other_direction",
                f"`log_det(x)` returns {told}.",
                f"so in {len(rows)} of {len(rows)} batches; log_det(x) {float(alone[0]):.9g}, "
                f"forward {example.got[0]:.9g}, inverse(x) {example.opposite[0]:.9g}",
            )
            return


def _near(example: LogdetExample, alone: Array, predicted: Array) -> bool:
    return bool((np.abs(alone - predicted) <= BOTH_SIDES * example.bound).all())


@hypothesis("gate_offset", rank=MECHANISM, when=WRONG, explains=LOGDET)
def gate_offset(evidence: Evidence) -> Iterator[Fit]:
    """The gate is ``sigmoid(h + c)`` for a constant c, but the log-det uses ``sigmoid(h)``."""
    for examples, which in wrong_directions(evidence):
        if not all(np.isfinite(e.got).all() for e in examples):
            continue
        samples = [
            (e.got[n], _gates(e.jacobians[n], inverse=which != "forward"), e)
            for e in examples
            for n in range(len(e.got))
        ]
        if len(samples) < 3 or any(not len(gates) for _, gates, _ in samples):
            return
        if all(np.ptp(e.expected) <= e.bound.max() for e in examples):
            return  # one equation, however many samples: any number would solve it
        turned = -1.0 if which != "forward" else 1.0
        offset = _solve_offset(turned * samples[0][0], samples[0][1])
        if not 2.0**-20 < abs(offset) < 32.0:
            continue  # no offset, or one that is too large to be meant
        told = [turned * _log_sigmoids(gates, offset) for _, gates, _ in samples]
        if all(
            abs(got - wanted) <= SOLVED * e.bound.max() * (1 + abs(offset))
            for (got, _, e), wanted in zip(samples, told, strict=True)
        ):
            yield Fit(
                "gate_offset",
                f"The gate is sigmoid(h + {offset:.6g}), but the log-det of {which} is that of "
                "sigmoid(h).",
                f"sum log sigmoid(logit(gate) - {offset:.9g}) = got in {len(samples)} of "
                f"{len(samples)} samples; got {samples[0][0]:.9g}, expected "
                f"{examples[0].expected[0]:.9g}",
            )


def _gates(J: Array, inverse: bool) -> Array:
    """Return the entries strictly between 0 and 1 of the diagonal that makes up the determinant."""
    diagonal = np.diagonal(np.linalg.inv(J) if inverse else J)
    total = np.linalg.slogdet(J)[1] * (-1.0 if inverse else 1.0)
    if not np.isclose(
        np.log(np.abs(diagonal) + np.finfo(float).tiny).sum(), total, rtol=1e-9, atol=1e-9
    ):
        return np.zeros(0)  # not triangular in any order
    return np.asarray(diagonal[(diagonal > 0) & (diagonal < 1)])


def _log_sigmoids(gates: Array, offset: float) -> float:
    logits = np.log(gates) - np.log1p(-gates) - offset
    return float(-np.logaddexp(0.0, -logits).sum())


def _solve_offset(total: float, gates: Array) -> float:
    """Solve ``sum log sigmoid(logit(g) - c) = total`` for c by bisection (decreasing in c)."""
    low, high = -64.0, 64.0
    for _ in range(200):
        middle = (low + high) / 2
        if _log_sigmoids(gates, middle) > total:
            low = middle
        else:
            high = middle
    return (low + high) / 2
