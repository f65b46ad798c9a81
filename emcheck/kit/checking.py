"""``check_layer`` and ``reproduce``, which users call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from emcheck.adapters.conventions import ContextLike
from emcheck.checker import EXAMPLES, REPORT_LIMIT, TIME_LIMIT, Progress, run_checks
from emcheck.checks import CHECKS, Case
from emcheck.checks.case import Tolerance
from emcheck.kit.checker import Checker
from emcheck.kit.options import DTYPES
from emcheck.kit.target import Reference, Sample
from emcheck.report import Report
from emcheck.result import Result


def check_layer(
    layer: object,
    shape: Sequence[int],
    *,
    seed: int = 0,
    dtypes: Sequence[torch.dtype] = DTYPES,
    examples: int = EXAMPLES,
    reference: Reference | None = None,
    sample: Sample | None = None,
    capabilities: Mapping[str, bool] | None = None,
    context: ContextLike | None = None,
    tolerance: Tolerance | None = None,
    expected_failures: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
    report_limit: float = REPORT_LIMIT,
    compiled: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Report:
    """Run every check that applies to a layer, on copies of it, and return the report.

    Args:
        layer: a module with ``forward(x) -> (z, logdet)`` and ``inverse(z) -> (x, logdet)``; a
            layer of normflows, nflows, FrEIA, zuko or ``torch.distributions.transforms``, a
            bijection of flowjax, distrax, numpyro or TFP on JAX; what
            :func:`emcheck.adapt` returns; or a function that returns a new layer, which makes
            the checks about fresh state complete. A layer is left exactly as it was.
        shape: the event, the shape of one sample: ``(D,)``, ``(C, L)``, ``(C, H, W)`` or
            ``(C, D, H, W)``.
        seed: of all random numbers; the same seed gives the same report.
        dtypes: the dtypes to check in.
        examples: cases for each check and dtype, in turn at initial, trained-like, mixed-sign
            and briefly optimised parameters.
        reference: ``reference(layer, x)`` or ``reference(x)``, an independent definition of
            ``z``; it switches on the checks that need a definition.
        sample: ``sample(batch, generator)`` draws ``(batch, *shape)`` from a domain other than R^n.
        capabilities: name -> False for what the layer does not offer, see
            :data:`emcheck.checks.capabilities.CAPABILITIES`; checks that need it are UNSUPPORTED.
        context: for a conditional layer, the shape of one context, ``(3,)``, or a function
            ``context(batch, generator)`` that draws ``(batch, ...)``. Each sample has its own.
        tolerance: for an inverse that iterates, the relative accuracy that it declares, or a
            function ``f(layer, tolerance)`` that sets it: then tightening it must make the
            inverse more accurate. Such an inverse need not be exact up to rounding.
        expected_failures: check -> reason; a FAIL becomes XFAIL, a check that passes XPASS.
        time_limit: seconds for one check on one example.
        report_limit: seconds for all checks; examples that have not begun by then are NOT RUN.
        compiled: also compare with ``torch.compile``, which costs seconds.
        device: ``cpu``, ``cuda`` or ``mps``: where the layer is copied to and checked.
        progress: called with each check and its result as it finishes.

    Raises:
        ValueError: ``layer`` is no layer, ``shape`` no shape, a capability or check is unknown,
            or ``forward`` refuses the shape in every dtype.

    The caller's settings change no verdict: gradients are on inside, autocast is off, the default
    dtype is float32 and the default device the CPU. What the layer changes for the process is
    reported and put back. Its exceptions are caught, ``SystemExit`` too. A time limit interrupts
    Python code and calls that let signals through. Nothing in this process can end a compiled call
    that never returns, free its memory, or survive a layer that ends the process; ``emcheck check``
    and ``pytest --emcheck-target`` can, because they give the layer a process of its own.

    Cost: a few hundred calls of the layer and ``n`` backward passes per Jacobian, of which
    there are some tens, for ``n`` dimensions.
    """
    checker = Checker(
        layer,
        shape,
        seed=seed,
        dtypes=dtypes,
        examples=examples,
        reference=reference,
        sample=sample,
        capabilities=capabilities,
        context=context,
        tolerance=tolerance,
        expected_failures=expected_failures,
        time_limit=time_limit,
        report_limit=report_limit,
        compiled=compiled,
        device=device,
    )
    try:
        return run_checks(checker, progress)
    finally:
        checker.close()


def reproduce(
    layer: object,
    check: str,
    case: str,
    *,
    reference: Reference | None = None,
    sample: Sample | None = None,
    capabilities: Mapping[str, bool] | None = None,
    context: ContextLike | None = None,
    tolerance: Tolerance | None = None,
    time_limit: float = TIME_LIMIT,
) -> Result:
    """Run one check on one case, as a failing report prints them, and return the result.

    Args: ``layer`` and the keywords as for :func:`check_layer`.

    Raises:
        ValueError: an unknown check, a text that is no case, or a ``layer`` that is no layer.
    """
    if check not in CHECKS:
        raise ValueError(f"expected the name of a check (emcheck list), got {check!r}")
    wanted = Case.parse(case)
    checker = Checker(
        layer,
        wanted.event,
        seed=wanted.seed,
        dtypes=(wanted.dtype,),
        reference=reference,
        sample=sample,
        capabilities=capabilities,
        context=context,
        tolerance=tolerance,
        time_limit=time_limit,
    )
    return checker.replay(CHECKS[check], wanted)
