"""Checks as pytest tests, like scikit-learn's ``parametrize_with_checks``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emcheck.checker import AnyChecker
from emcheck.checks import Check
from emcheck.kit.checker import Checker
from emcheck.report import Report
from emcheck.result import Result, Verdict

if TYPE_CHECKING:
    import pytest

#: A layer or a function that returns one, its event, and options of ``check_layer`` if any.
Target = tuple[Any, Sequence[int]] | tuple[Any, Sequence[int], dict[str, Any]]


class LayerCheck:
    """One check that a test calls with the layer to judge: ``check(layer)``.

    Args:
        checker: the checker of the target.
        check: a check that applies to it.
        target: what ``checker`` was built from; another layer gets a checker of its own.
        options: those of ``check_layer`` for such a layer.

    Raises:
        AssertionError: the check failed, or never passed where it must.
        ValueError: ``layer`` is no layer, or refuses the event.
    """

    def __init__(
        self,
        checker: AnyChecker[Any],
        check: Check,
        target: object = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.checker, self.check = checker, check
        self._target, self._options = target, dict(options or {})

    def __call__(self, layer: object = None) -> None:
        __tracebackhide__ = True
        judge(self._checked_by(layer), self.check)

    def _checked_by(self, layer: object) -> AnyChecker[Any]:
        if layer is None or layer is self._target:
            return self.checker
        return Checker(layer, self.checker.shape, **self._options)

    def __repr__(self) -> str:
        return self.check.name

    @property
    def identity(self) -> str:
        """Layer, event and check, for the id of a test."""
        shape = "x".join(map(str, self.checker.shape))
        return f"{self.checker.name}-{shape}-{self.check.name}"


def parametrize_with_checks(targets: Iterable[Target], **options: Any) -> pytest.MarkDecorator:
    """Parametrise a test ``(layer, check)`` over every check that applies to every target.

    ``check(layer)`` judges the layer that it is given: the target, or what the test made of it.
    It does so in the process of the test, which a crash of the layer ends; the option
    ``--emcheck-target`` of pytest and the command ``emcheck check`` use another process.

    Args:
        targets: ``(layer, shape)`` or ``(layer, shape, options)``, the layer as
            :func:`emcheck.check_layer` takes it.
        options: those of :func:`emcheck.check_layer` for all targets, for example
            ``expected_failures={"empty_batch": "the reason"}``.

    Raises:
        ValueError: there is no target, or ``check_layer`` refuses one.

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
        given = {**options, **(own[0] if own else {})}
        checker = Checker(layer, shape, **given)
        for check in checker.checks:
            prepared = LayerCheck(checker, check, layer, given)
            parameters.append(pytest.param(layer, prepared, id=prepared.identity))
    if not parameters:
        raise ValueError("expected at least one (layer, shape), got none")
    return pytest.mark.parametrize(("layer", "check"), parameters)


def judge(checker: AnyChecker[Any], check: Check) -> list[Result]:
    """Run one check as a test: it fails, skips with a reason, or is expected to fail.

    Raises:
        AssertionError: with the numbers, the smallest example and the likely cause.
    """
    import pytest

    __tracebackhide__ = True
    if all(known.name != check.name for known in checker.checks):
        pytest.skip(f"{check.name} does not apply to {checker.name}")
    results = checker.run(check)
    report = checker.report(results)
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
    """Return the report without its second line, which counts the results of one check."""
    first, _, *rest = str(report).splitlines()
    return "\n".join([first, *rest])
