"""Hidden float32 rounding, log-dets that depend on too much, and builds that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.checks import CHECKS
from emcheck.checks.calling import call, call_inverse, forward_of
from emcheck.checks.cancellation import in_dtype, shrinks
from emcheck.checks.differences import noise
from emcheck.checks.trial import Trial
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.consequences import ANY, GRADIENTS, INVERSE, LOGDET, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, SEEN, Fit, hypothesis
from emcheck.oracle import explicit_jacobian, slogdet

#: ``call`` or ``call_inverse``.
Run = Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]

#: Range of the relative scatter that rounding to float32 leaves in float64 values.
OF_FLOAT32 = (2.0**-31, 2.0**-21)


@hypothesis(
    "rounded_inside", rank=SEEN - 1, when=GRADIENTS | {*UNDONE, *WRONG}, explains=ANY
)  # fmt: skip
def rounded_inside(evidence: Evidence) -> Iterator[Fit]:
    """A value passes through float32 inside the layer: float64 outputs scatter as in float32.

    Cancellation alone makes float64 scatter 2^29 times less than float32.
    """
    if any(found.case.dtype != torch.float64 for found in evidence.findings):
        return
    wide, narrow = scatter(evidence, torch.float64), scatter(evidence, torch.float32)
    low, high = OF_FLOAT32
    for name, size in wide.items():
        if low < size < high and narrow[name] < 64 * size:
            yield Fit(
                "rounded_inside",
                f"A value passes through float32 inside {name} (`.float()`, or a constant of "
                "that dtype): the output is float64 and has the digits of float32.",
                f"values of {name} scatter by {size:.2g} of their size in float64, and by "
                f"{narrow[name]:.2g} in float32",
            )
            return


@hypothesis("digits_cancel", rank=SEEN + 4, when=(*UNDONE, *WRONG), explains=LOGDET | INVERSE)
def digits_cancel(evidence: Evidence) -> Iterator[Fit]:
    """The error of every wrong value and log-det shrinks with the rounding unit."""
    subject = replace(evidence.subject, memo=None)
    narrow, wide = [], []
    for found in evidence.findings:
        if found.check not in (*UNDONE, *WRONG):
            continue
        function = CHECKS[found.check].function
        single, double = (
            in_dtype(function, subject, found.case, d) for d in (torch.float32, torch.float64)
        )
        if single is None or double is None or not shrinks(single, double):
            return
        narrow.append(single.ratio * single.bound)
        wide.append(double.ratio * double.bound)
    yield Fit(
        "digits_cancel",
        "Digits cancel inside the layer: the formula is right and loses what it subtracts (a "
        "root of a quadratic, log(1 + small), a large constant added and taken away again).",
        f"errors of up to {max(narrow):.3g} in float32 are up to {max(wide):.3g} in float64",
    )


def scatter(evidence: Evidence, dtype: torch.dtype) -> dict[str, float]:
    """Return each output's scatter, relative to its size, along one direction of its input.

    An output that float32 holds exactly is left out: another hypothesis names it.
    """
    trial = evidence.trial(replace(evidence.base, dtype=dtype, style="trained"))
    z, _ = call(copy_layer(trial.layer), trial.x)
    runs: dict[str, tuple[Run, Tensor]] = {"forward": (call, trial.x)}
    if trial.has("inverse"):
        runs["the inverse"] = call_inverse, z
    found = {}
    for name, (run, start) in runs.items():
        turn = torch.randn(start.shape, generator=trial.case.generator(61)).to(start)
        for index, part in enumerate((name, f"the log-det of {name}")):
            output = partial(_moved, run, trial.layer, start, turn, index)
            out = output(0.0)
            if dtype == torch.float64 and bool((out.float().double() == out).all()):
                continue
            size = abs(float(out.sum())) or 1.0
            step = 2.0**-9 if dtype == torch.float32 else 2.0**-13
            found[part] = noise(lambda s, f=output: float(f(s).double().sum()), step) / size  # type: ignore[misc]
    return found


def _moved(
    run: Run, layer: nn.Module, start: Tensor, turn: Tensor, index: int, step: float
) -> Tensor:
    """Return one output of a direction at ``start + step * turn``."""
    return run(copy_layer(layer), start + step * turn)[index]


@hypothesis("logdet_follows_too_much", rank=MECHANISM + 4, when=WRONG, explains=LOGDET)
def logdet_follows_too_much(evidence: Evidence) -> Iterator[Fit]:
    """The log-det depends on a parameter that does not change the volume."""
    moved: dict[str, list[tuple[float, float]]] = {}
    for case in evidence.spread[:3]:
        trial = evidence.trial(replace(case, dtype=torch.float64, batch=1))
        got, expected = _pair(trial, trial.layer)
        for name in dict(trial.layer.named_parameters()):
            layer = copy_layer(trial.layer)
            parameter = layer.get_parameter(name)
            generator = trial.case.generator(63)
            kick = torch.randn(parameter.shape, generator=generator).to(parameter)
            with torch.no_grad():
                parameter.add_(0.1 * kick)
            there, volume = _pair(trial, layer)
            moved.setdefault(name, []).append((there - got, volume - expected))
    rounding = 2.0**-40
    still = [n for n, v in moved.items() if all(abs(volume) <= rounding for _, volume in v)]
    wrong = [n for n in still if sum(abs(told) > 2.0**-20 for told, _ in moved[n]) >= 2]
    if wrong and len(still) < len(moved):
        name = wrong[0]
        yield Fit(
            "logdet_follows_too_much",
            f"The log-det depends on `{name}`, which does not change the volume: what it enters "
            "stands off the diagonal of a triangular Jacobian (an earlier entry, a shift).",
            f"moving `{name}` changes the log-det by {moved[name][0][0]:.6g} and that of the "
            f"Jacobian by {moved[name][0][1]:.1g}, in {len(moved[name])} cases",
        )


def _pair(trial: Trial, layer: nn.Module) -> tuple[float, float]:
    """Return the log-det that a layer returns for one sample, and that of its Jacobian."""
    got = float(call(copy_layer(layer), trial.x)[1][0])

    J = explicit_jacobian(lambda x: forward_of(layer, x.clone()), trial.x[0])
    return got, slogdet(J)[0]


@hypothesis("builds_differ", rank=SEEN - 3, when=("state_dict_restores", "nothing_goes_stale",
            "copies_and_pickles_agree"), explains=ANY)  # fmt: skip
def builds_differ(evidence: Evidence) -> Iterator[Fit]:
    """Two calls of the build function return states with different names or shapes."""
    build, case = evidence.subject.build, evidence.base
    first, second = (
        {name: tuple(value.shape) for name, value in build(case).state_dict().items()}
        for _ in range(2)
    )
    other = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if other:
        yield Fit(
            "builds_differ",
            "Every layer that the function returns is another: a state_dict does not fit the next "
            f"one (`{other[0]}`). The constructor changes an argument, such as a list of sizes "
            "that grows, or draws its sizes.",
            f"two calls give states that differ in {len(other)} names or shapes",
        )
