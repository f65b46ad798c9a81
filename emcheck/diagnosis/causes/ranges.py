"""Numbers that leave the range of a dtype, and logarithms without absolute value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call
from emcheck.checks.case import Case
from emcheck.checks.trial import Trial
from emcheck.diagnosis.consequences import ANY, LOGDET_OF_ROWS
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis

_VALUES = (
    "inverse_undoes_forward", "forward_undoes_inverse", "forward_matches_definition",
    "inverse_backward_error", "extreme_scales", "extreme_parameters",
)  # fmt: skip


_LOGDETS = (
    "logdet_matches_jacobian", "inverse_logdet_matches_jacobian", "logdet_matches_definition",
)  # fmt: skip


@hypothesis("log_without_abs", rank=SEEN + 4, when=_LOGDETS, explains=LOGDET_OF_ROWS)
def log_without_abs(evidence: Evidence) -> Iterator[Fit]:
    """The log of a negative number is taken: flipping the sign of a parameter removes the NaN."""
    found: list[dict[str, float]] = []
    for case in _many(evidence):
        trial = evidence.trial(case)
        if len(found) < 3 and bool(call(trial.layer, trial.x)[1].isnan().all()):
            found.append(_repaired(trial))
    for what in found[0] if len(found) >= 2 else ():
        if all(what in repaired for repaired in found):
            yield Fit(
                "log_without_abs",
                f"The logarithm of a negative number: {what} is not taken in absolute value "
                "(log or logdet where log|.| or slogdet is needed).",
                f"the log-det is NaN where {what} is negative, and {found[0][what]:.6g} with the "
                f"sign turned round, in {len(found)} of {len(found)} draws",
            )
            return


def _many(evidence: Evidence) -> list[Case]:
    base = replace(evidence.base, batch=1)
    return [
        replace(base, style=style, seed=base.seed + n)
        for n in range(12)
        for style in ("mixed", "trained")
    ]


def _repaired(trial: Trial) -> dict[str, float]:
    """Return, for each parameter whose changed sign makes the log-det finite, that log-det."""
    found = {}
    for name, parameter in trial.layer.named_parameters():
        value = parameter.detach().clone()
        square = value.dim() == 2 and value.shape[0] == value.shape[1]
        with torch.no_grad():
            if square:
                parameter[0].neg_()
            else:
                parameter.abs_()
        logdet = call(trial.layer, trial.x)[1]
        parameter.data.copy_(value)
        if bool(logdet.isfinite().all()):
            found[f"det `{name}`" if square else f"an entry of `{name}`"] = float(logdet[0])
    return found


@hypothesis(
    "determinant_out_of_range",
    rank=SEEN + 5,
    when=(*_LOGDETS, "extreme_parameters"),
    explains=LOGDET_OF_ROWS,
)
def determinant_out_of_range(evidence: Evidence) -> Iterator[Fit]:
    """The determinant leaves the dtype's range, so the log-det is infinite instead of finite."""
    for check in (*_LOGDETS, "extreme_parameters"):
        if check not in evidence.failing or not evidence.is_infinite(check):
            continue
        for case in _candidates(evidence, check):
            fit = _overflowing(evidence, case)
            if fit is not None:
                yield fit
                return


def _candidates(evidence: Evidence, check: str) -> list[Case]:
    case = evidence.case_of(check)
    small = replace(case, dtype=torch.float32)
    return [case, small] if check != "extreme_parameters" else [case]


def _overflowing(evidence: Evidence, case: Case) -> Fit | None:
    """Scale the parameters until the log-det is infinite, and show that it should be finite."""
    info = torch.finfo(case.dtype)
    for exponent in (0, -8, 8, -60, 60, -500, 500):
        trial = evidence.trial(case)
        if 2.0 ** abs(exponent) > info.max**0.5:
            continue
        for parameter in trial.layer.parameters():
            parameter.data.mul_(2.0**exponent)
        logdet = call(trial.layer, trial.x)[1]
        if not bool(logdet.isinf().all()):
            continue
        finite = [
            (name, float(np.linalg.slogdet(p.detach().double().numpy())[1]))
            for name, p in trial.layer.named_parameters()
            if p.dim() == 2 and p.shape[0] == p.shape[1]
        ]
        limits = math.log(info.smallest_normal), math.log(info.max)
        for name, value in finite:
            beyond = not limits[0] < value < limits[1] or not limits[0] < 2 * value < limits[1]
            if math.isfinite(value) and beyond:
                return Fit(
                    "determinant_out_of_range",
                    f"The determinant of `{name}` leaves the range of {case.dtype_name} before "
                    "its logarithm is taken: use slogdet.",
                    f"got {float(logdet[0])} where log|det `{name}`| = {value:.6g} is finite; "
                    f"{case.dtype_name} holds determinants from exp({limits[0]:.4g}) to "
                    f"exp({limits[1]:.4g})",
                )
    return None


@hypothesis(
    "out_of_range",
    rank=SEEN + 6,
    when=(*_VALUES, "map_is_affine"),
    explains=ANY,
)
def out_of_range(evidence: Evidence) -> Iterator[Fit]:
    """An intermediate value overflows or underflows: in a wider range the result is right."""
    for check in (*_VALUES, "map_is_affine"):
        case = evidence.case_of(check) if check in evidence.failing else None
        far = case is not None and (case.scale in ("huge", "tiny") or check.startswith("extreme"))
        if case is not None and (far or evidence.subject.is_defined):
            fit = _by_parameters(evidence, case) or _by_data(evidence, case)
            if fit is not None:
                yield fit
                return


def _by_parameters(evidence: Evidence, case: Case) -> Fit | None:
    """Return a fit if float32 is not finite where float64 is, at the same parameters."""
    trial = evidence.trial(replace(case, dtype=torch.float32, scale="unit"))
    z, _ = call(copy_layer(trial.layer), trial.x)
    wide, _ = call(copy_layer(trial.layer).double(), trial.x.double())
    fits = torch.finfo(torch.float32).max
    if (
        bool(z.isfinite().all())
        or not bool(wide.isfinite().all())
        or float(wide.abs().max()) > fits
    ):
        return None
    smallest = min(
        (float(p.detach().abs().max()) for p in trial.layer.parameters() if p.numel()),
        default=math.nan,
    )
    return Fit(
        "out_of_range",
        "An intermediate value leaves the range of float32, such as the square of a small "
        "parameter: scale before squaring.",
        f"float32 gives NaN or infinity where the same parameters in float64 give at most "
        f"{float(wide.abs().max()):.3g}; a parameter has no entry above {smallest:.3g}",
    )


def _by_data(evidence: Evidence, case: Case) -> Fit | None:
    """Return a fit if ``f(s x)`` is NaN, infinite or 0 although ``s f(x)`` is none of these.

    Only for a layer that grows like its input: an exponential may overflow and be correct.
    """
    base = replace(case, scale="unit", dtype=torch.float64, style="trained")
    trial = evidence.trial(base)
    for exponent in (960, -1000):
        scale = 2.0**exponent
        x = trial.x
        z, zero = (call(copy_layer(trial.layer), v)[0] for v in (x, torch.zeros_like(x)))
        got = call(copy_layer(trial.layer), x * scale)[0]
        size = float(z.abs().max())
        further = float(call(copy_layer(trial.layer), x * 2**10)[0].abs().max())
        if not math.isfinite(size) or size == 0 or not further <= 2**12 * size:
            continue
        if not bool(got.isfinite().all()) or not bool(got.any()):
            first = got[~got.isfinite()] if not bool(got.isfinite().all()) else got.reshape(-1)
            at_zero = "" if bool(zero.isfinite().all()) else "; f(0) is not finite either"
            return Fit(
                "out_of_range",
                "An intermediate value leaves the range of the dtype, such as the square of a "
                "large or small input: scale before squaring.",
                f"f(x) has entries up to {size:.3g}, f(2^{exponent} x) gives "
                f"{float(first[0])}{at_zero}",
            )
    return None
