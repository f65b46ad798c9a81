"""Checks as pytest tests, in the manner of scikit-learn's ``parametrize_with_checks``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from emcheck.checks import Check
from emcheck.kit.examine import Examination
from emcheck.kit.report import Report
from emcheck.result import Result, Verdict

if TYPE_CHECKING:
    import pytest

#: A layer or a function that returns one, its event, and options of ``check_layer`` if any.
Target = tuple[Any, Sequence[int]] | tuple[Any, Sequence[int], dict[str, Any]]


class LayerCheck:
    """One check on one layer, called in a test: ``check(layer)``.

    Raises:
        AssertionError: the check failed, or never passed where it must.
    """

    def __init__(self, examination: Examination, check: Check) -> None:
        self.examination, self.check = examination, check

    def __call__(self, layer: object = None) -> None:
        judge(self.examination, self.check)

    def __repr__(self) -> str:
        return self.check.name

    @property
    def identity(self) -> str:
        """Layer, event and check, for the id of a test."""
        shape = "x".join(map(str, self.examination.shape))
        return f"{self.examination.name}-{shape}-{self.check.name}"


def parametrize_with_checks(targets: Iterable[Target], **options: Any) -> pytest.MarkDecorator:
    """Parametrise a test ``(layer, check)`` over every check that applies to every target.

    Args:
        targets: ``(layer, shape)`` or ``(layer, shape, options)``, the layer as
            :func:`emcheck.check_layer` takes it.
        options: those of :func:`emcheck.check_layer` for all targets, for example
            ``expected_failures={"empty_batch": "the reason"}``.

    Raises:
        ValueError: no target, or what ``check_layer`` refuses.

    Example:
        >>> from emcheck.layers import Conv1x1
        >>> @parametrize_with_checks([(lambda: Conv1x1(2), (2, 3, 4))])
        ... def test_layer(layer, check):
        ...     check(layer)
    """
    import pytest

    parameters = []
    for target in targets:
        if not isinstance(target, tuple) or len(target) not in (2, 3):
            raise ValueError(f"expected (layer, shape) or (layer, shape, options), got {target!r}")
        layer, shape, *own = target
        examination = Examination(layer, shape, **{**options, **(own[0] if own else {})})
        for check in examination.checks:
            prepared = LayerCheck(examination, check)
            parameters.append(pytest.param(layer, prepared, id=prepared.identity))
    if not parameters:
        raise ValueError("expected at least one (layer, shape), got none")
    return pytest.mark.parametrize(("layer", "check"), parameters)


def judge(examination: Examination, check: Check) -> list[Result]:
    """Run one check as a test: it fails, skips with a reason, or is expected to fail.

    Raises:
        AssertionError: with the numbers, the smallest example and the likely cause.
    """
    import pytest

    __tracebackhide__ = True
    results = examination.run(check)
    report = examination.report(results)
    if report.failures or report.unproven:
        raise AssertionError(f"{check.summary}\n{_without_counts(report)}")
    verdicts = {result.verdict for result in results}
    told = next((result.detail for result in results if result.detail), "")
    if Verdict.XFAIL in verdicts:
        pytest.xfail(told)
    if verdicts <= {Verdict.UNSUPPORTED, Verdict.NOT_RUN, Verdict.ILL_CONDITIONED}:
        pytest.skip(f"{next(iter(verdicts))}: {told}")
    return results


def _without_counts(report: Report) -> str:
    """The report without its second line, which counts the results of one check."""
    first, _, *rest = str(report).splitlines()
    return "\n".join([first, *rest])
