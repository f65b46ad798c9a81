"""Jacobians of functions without derivatives, by differences that estimate their error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import VALUE_ROUNDINGS
from emcheck.oracle.precision import Array

#: Widest step of each attempt, as a power of two relative to the entry that is moved.
_EXPONENTS = (-3, -6, -9, -12, -16, -20)

#: Each attempt takes its step, a half and a quarter of it, to either side.
_STEPS = np.array([1.0, 0.5, 0.25])

#: Most numbers in one batch of moved inputs.
_MOST = 2**22


@dataclass(frozen=True)
class Differences:
    """A Jacobian ``(n_out, n)``, and its error relative to its largest singular value."""

    J: Array
    error: float


def jacobian_by_differences(f: Callable[[Array], Array], x: Array) -> Differences:
    """Return ``dz/dx`` of ``f (B, *event) -> (B, ...)`` at one sample ``x (*event)`` in float64.

    Central differences at steps ``h, h/2, h/4``, extrapolated twice (error ``O(h^6)``), for six
    widths of ``h``. The error of an entry is twice the change by the last extrapolation, plus the
    rounding of the values over the smallest step, and at least the change at the next narrower
    width; each column takes the width with the least error. Steps out of the domain are ignored.

    Cost: 36 n evaluations.
    """
    flat = np.asarray(x, np.float64).reshape(-1)
    least = 2.0**-10 * float(np.sqrt(np.mean(flat**2))) or 1.0
    per_chunk = max(1, _MOST // (36 * max(flat.size, 1)))
    columns, errors = [], []
    for start in range(0, flat.size, per_chunk):
        places = np.arange(start, min(start + per_chunk, flat.size))
        J, E = _columns(f, np.asarray(x), flat, places, least)
        columns.append(J)
        errors.append(E)
    J, E = np.concatenate(columns).T, np.concatenate(errors).T
    size = float(np.linalg.norm(J, 2)) if np.isfinite(J).all() else 0.0
    return Differences(J, float(np.linalg.norm(E)) / size if size > 0 else np.inf)


def _columns(
    f: Callable[[Array], Array], x: Array, flat: Array, places: Array, least: float
) -> tuple[Array, Array]:
    """Return columns ``(k, n_out)`` of the Jacobian at some places, and their errors."""
    wide = 2.0 ** np.array(_EXPONENTS)[:, None] * np.maximum(np.abs(flat[places]), least)
    steps = wide[:, :, None] * _STEPS  # (widths, k, 3)
    moved = np.broadcast_to(flat, (2, *steps.shape, flat.size)).copy()
    rows = np.arange(len(places))
    moved[0, :, rows, :, places] += steps.transpose(1, 0, 2)
    moved[1, :, rows, :, places] -= steps.transpose(1, 0, 2)
    taken = moved[0, :, rows, :, places] - moved[1, :, rows, :, places]  # what was really moved
    gaps = taken.transpose(1, 0, 2)[..., None]
    out = np.asarray(f(moved.reshape(-1, *x.shape)), np.float64)
    out = out.reshape(2, *steps.shape, -1)
    with np.errstate(all="ignore"):
        slopes = (out[0] - out[1]) / gaps
        once = (4 * slopes[:, :, 1:] - slopes[:, :, :-1]) / 3
        best = (16 * once[:, :, 1] - once[:, :, 0]) / 15
        size = np.abs(out).max(axis=(0, 3))
        unit = np.finfo(np.float64).eps / 2
        rounding = VALUE_ROUNDINGS * unit * size / gaps[:, :, -1]
        error = 2 * np.abs(best - once[:, :, 1]) + rounding
        # Differences to the next narrower steps show noise and curvature alike.
        error[:-1] = np.maximum(error[:-1], np.abs(best[:-1] - best[1:]))
        error[-1] = np.maximum(error[-1], np.abs(best[-1] - best[-2]))
    worst = np.where(np.isfinite(best) & np.isfinite(error), error, np.inf).max(axis=2)
    chosen = worst.argmin(axis=0)
    found = np.isfinite(worst[chosen, rows])[:, None]
    return (
        np.where(found, best[chosen, rows], np.nan),
        np.where(found, error[chosen, rows], np.inf),
    )
