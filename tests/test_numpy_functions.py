"""Functions of NumPy arrays: Jacobians by differences, with bounds that are honest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import emcheck
from emcheck.adapters import adapt
from emcheck.oracle import jacobian_by_differences

MATRIX = np.eye(6) + 0.3 * np.random.default_rng(0).normal(size=(6, 6))


def forward(x: Any) -> Any:
    return np.sinh(x @ MATRIX.T.astype(x.dtype))


def log_det(x: Any) -> Any:
    y = x @ MATRIX.T.astype(x.dtype)
    return np.log(np.cosh(y)).sum(1) + np.linalg.slogdet(MATRIX)[1].astype(x.dtype)


def inverse(z: Any) -> Any:
    x = np.linalg.solve(MATRIX.astype(z.dtype), np.arcsinh(z).T).T
    return x, -log_det(x)


def failed(report: emcheck.Report) -> set[str]:
    return {result.check for result in report.failures}


def test_right_functions_are_ok() -> None:
    layer = adapt(forward=forward, inverse=inverse, log_det=log_det)
    for seed in (0, 1):
        report = emcheck.check_layer(layer, (6,), seed=seed)
        assert report.ok, str(report)
        assert "functions of NumPy arrays: Jacobians by differences" in str(report)
        verdicts = {(r.check, r.dtype, r.verdict.name) for r in report.results}
        for dtype in ("float32", "float64"):
            assert ("logdet_matches_jacobian", dtype, "PASS") in verdicts
            assert ("inverse_logdet_matches_jacobian", dtype, "PASS") in verdicts
            assert ("inverse_undoes_forward", dtype, "PASS") in verdicts
            assert ("gradient_of_latent", dtype, "PASS") not in verdicts


def test_an_elementwise_pair_is_ok() -> None:
    layer = adapt(forward=lambda x: (np.exp(x), x.sum(1)), inverse=np.log)
    report = emcheck.check_layer(layer, (3,))
    assert report.ok, str(report)


WRONG: dict[str, tuple[Callable[..., Any], Callable[..., Any], set[str]]] = {
    "sign": (lambda x: -log_det(x), inverse, {"logdet_matches_jacobian", "logdets_cancel"}),
    "missing term": (
        lambda x: log_det(x) - np.linalg.slogdet(MATRIX)[1].astype(x.dtype),
        inverse,
        {"logdet_matches_jacobian", "logdets_cancel"},
    ),
    "slightly off": (
        lambda x: log_det(x) * x.dtype.type(1 + 1e-4),
        lambda z: inverse(z)[0],
        {"logdet_matches_jacobian"},
    ),
    "inverse": (
        log_det,
        lambda z: inverse(z)[0] * z.dtype.type(1.01),
        {"inverse_undoes_forward", "forward_undoes_inverse"},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_functions_fail(name: str) -> None:
    wrong, back, checks = WRONG[name]
    layer = adapt(forward=forward, inverse=back, log_det=wrong)
    report = emcheck.check_layer(layer, (6,), examples=4)
    assert failed(report) == checks, str(report)


def test_the_error_of_differences_is_bounded() -> None:
    rng = np.random.default_rng(3)
    functions: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "sinh": (np.sinh, np.cosh),
        "log": (lambda x: np.log(np.abs(x)), lambda x: 1 / x),
        "stiff": (lambda x: np.tanh(30 * x), lambda x: 30 / np.cosh(30 * x) ** 2),
        "noisy": (lambda x: (x + 1e5) ** 2 - 1e10, lambda x: 2 * (x + 1e5)),
        "narrow": (lambda x: np.sin(x).astype(np.float32), np.cos),
    }
    for name, (f, slope) in functions.items():
        for scale in (1e-3, 1.0, 5.0):
            x = rng.normal(size=5) * scale
            found = jacobian_by_differences(f, x)
            off = np.linalg.norm(found.J - np.diag(slope(x)))
            assert off <= found.error * np.linalg.norm(found.J, 2), (name, scale, off, found.error)
            if name == "sinh":
                assert found.error < 1e-8


def test_a_step_that_leaves_the_domain_counts_for_nothing() -> None:
    x = np.array([1e-4, 0.3, 2.0])
    with np.errstate(invalid="ignore"):
        found = jacobian_by_differences(np.log, x)
    assert np.allclose(found.J, np.diag(1 / x), rtol=1e-7)
    nowhere = jacobian_by_differences(lambda x: np.full(x.shape, np.nan), x)
    assert np.isnan(nowhere.J).all()
    assert nowhere.error == np.inf


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: (np.exp(x), x.sum(1), 3), "expected forward to return z or (z, logdet), got"),
        (lambda x: ((np.exp(x), x), x.sum(1)), "expected forward to return z or (z, logdet), got"),
    ],
)
def test_wrong_answers_are_named_in_one_line(forward: Callable[..., Any], message: str) -> None:
    try:
        told = str(emcheck.check_layer(adapt(forward=forward, inverse=np.log), (3,), examples=1))
    except ValueError as error:
        told = str(error)
    assert message in told
