"""What the FAILs of the survey come from."""

from __future__ import annotations

from studies.survey import (
    causes_freia,
    causes_index,
    causes_nflows,
    causes_normflows,
    causes_others,
    causes_pyro,
)
from studies.survey.cause import Cause

#: In the order of the report; of several that cover a FAIL the first counts.
CAUSES = (
    *causes_normflows.CAUSES,
    *causes_nflows.CAUSES,
    *causes_freia.CAUSES,
    *causes_others.CAUSES,
    *causes_pyro.CAUSES,
    *causes_index.CAUSES,
)

#: Layers that check_layer refuses: library, name, what is so, and the test that shows it.
REFUSED = (
    (
        "FrEIA",
        "IResNetLayer",
        "It needs gradients to compute its log-det and raises under `torch.no_grad()`.",
        "test_freia_residual_needs_gradients",
    ),
    (
        "torch.distributions",
        "LowerCholeskyTransform",
        "It has no log-det, as documented: it is no bijection.",
        "test_torch_cholesky_has_no_logdet",
    ),
    (
        "pyro",
        "SplineAutoregressive quadratic",
        "`spline_autoregressive` makes a network of four outputs for either order; the quadratic "
        "spline takes three, and raises.",
        "test_pyro_quadratic_autoregressive_spline_raises",
    ),
    (
        "pyro",
        "ConditionalSplineAutoregressive quadratic",
        "The same network as of `SplineAutoregressive quadratic`.",
        "test_pyro_quadratic_autoregressive_spline_raises",
    ),
    (
        "torchflows",
        "HouseholderSylvester",
        "The product with the reflections takes a matrix of another size, and raises.",
        "test_torchflows_householder_sylvester_raises",
    ),
    (
        "pyro",
        "ConditionalGeneralizedChannelPermute",
        "The log-det takes `diag()` of one matrix: a batch of contexts raises.",
        "test_pyro_conditional_channels_take_one_context",
    ),
)


def cause_of(library: str, layer: str, check: str) -> Cause | None:
    """What a FAIL comes from, or None if no test confirms it yet."""
    return next((cause for cause in CAUSES if cause.covers(library, layer, check)), None)
