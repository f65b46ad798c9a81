"""What the FAILs of the survey come from."""

from __future__ import annotations

from studies.survey import causes_freia, causes_nflows, causes_normflows, causes_others
from studies.survey.cause import Cause

#: In the order of the report; of several that cover a FAIL the first counts.
CAUSES = (
    *causes_normflows.CAUSES,
    *causes_nflows.CAUSES,
    *causes_freia.CAUSES,
    *causes_others.CAUSES,
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
)


def cause_of(library: str, layer: str, check: str) -> Cause | None:
    """What a FAIL comes from, or None if no test confirms it yet."""
    return next((cause for cause in CAUSES if cause.covers(library, layer, check)), None)
