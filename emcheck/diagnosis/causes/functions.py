"""Functions of torch that do not do what is meant: with one of them replaced all is well."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from emcheck.checks.core import CHECKS, run_check
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, SEEN, Fit, hypothesis
from emcheck.result import Verdict

_OF_VALUES = (
    "logdet_matches_jacobian", "inverse_logdet_matches_jacobian", "logdets_cancel",
    "inverse_undoes_forward", "forward_undoes_inverse",
)  # fmt: skip

_OF_SLOPES = (
    "gradient_of_latent", "gradient_of_logdet", "gradient_of_inverse",
    "gradient_of_inverse_logdet", "no_dead_parameter", "jvp_agrees", "logdet_matches_jacobian",
    "inverse_logdet_matches_jacobian",
)  # fmt: skip

_HERE = f"{Path(__file__).parents[2]}{os.sep}"


class Replaced(TorchFunctionMode):
    """Calls of some functions by the layer are answered by others, and counted."""

    functions: frozenset[Callable[..., Any]]

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def answer(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        ours = sys._getframe(1).f_code.co_filename.startswith(_HERE)
        if ours or func not in self.functions:
            return func(*args, **(kwargs or {}))
        self.calls += 1
        return self.answer(func, *args, **(kwargs or {}))


class ExactSoftplus(Replaced):
    """``log(1 + exp(beta x)) / beta`` at every x, where torch takes x itself above a threshold."""

    functions = frozenset({F.softplus})

    def answer(self, _: Any, input: Any, beta: float = 1, threshold: float = 20) -> Any:
        return torch.logaddexp(beta * input, torch.zeros_like(input)) / beta


class Attached(Replaced):
    """What the layer detaches keeps its graph."""

    functions = frozenset({torch.Tensor.detach})

    def answer(self, _: Any, tensor: Any) -> Any:
        return tensor


def _repaired(
    evidence: Evidence, checks: Sequence[str], replaced: type[Replaced]
) -> tuple[frozenset[str], str]:
    """Return the failing checks that pass with the function replaced, and how many of how many."""
    subject = replace(evidence.subject, memo=None)
    named = [found for found in evidence.findings if found.check in checks]
    passed = []
    for found in named:
        with replaced() as mode:
            verdict = run_check(CHECKS[found.check], subject, found.case).verdict
        if mode.calls and verdict is Verdict.PASS:
            passed.append(found.check)
    return frozenset(passed), f"{len(passed)} of {len(named)} failing cases pass"


@hypothesis("softplus_threshold", rank=SEEN - 1, when=_OF_VALUES, explains=frozenset(_OF_VALUES))
def softplus_threshold(evidence: Evidence) -> Iterator[Fit]:
    """``softplus`` is the identity above 20, and the formula beside it is not."""
    passed, counted = _repaired(evidence, _OF_VALUES, ExactSoftplus)
    if passed:
        yield Fit(
            "softplus_threshold",
            "`softplus` of torch returns x itself above its threshold of 20; the formula beside it "
            "(an inverse, or a slope `sigmoid(x)`) is that of log(1 + exp(x)), which differs by "
            "up to 2e-9. `torch.logaddexp(x, zero)` has no threshold.",
            f"with log(1 + exp(x)) at every x {counted}",
            passed,
        )


@hypothesis("detached_inside", rank=MECHANISM + 8, when=_OF_SLOPES, explains=frozenset(_OF_SLOPES))
def detached_inside(evidence: Evidence) -> Iterator[Fit]:
    """A ``.detach()`` makes gradients those of another function: without it they are right."""
    passed, counted = _repaired(evidence, _OF_SLOPES, Attached)
    if passed:
        yield Fit(
            "detached_inside",
            "A `.detach()` inside the layer makes gradients those of another function, as in "
            "`x + (x.clamp(a, b) - x).detach()`, which passes them on as if nothing were clipped.",
            f"with every `.detach()` of the layer left out {counted}",
            passed,
        )
