"""The usual test of flow libraries, rebuilt here to measure how many faults it detects.

Such suites build a layer, draw a batch and test two things: ``inverse(forward(x)) = x``, and the
two log-dets sum to zero, both to a fixed number of digits. The replica keeps their limits:
initial values, single precision, one square shape. It has the benefit of the doubt: the options
that a fault needs, and several draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from emcheck.checks import Case, Subject
from emcheck.guard import foreign, one_line
from emcheck.guard.surroundings import settings_kept

#: Not a tolerance of this project but the subject of a measurement: the absolute tolerance
#: that suites of flow libraries use for both comparisons in single precision.
USUAL_ATOL = 1e-4

#: Channels, and rows and columns before a layer's own factor: square, even, a power of two.
USUAL_CHANNELS, USUAL_SIDE, USUAL_BATCH = 4, 8, 3

#: Layer and data are drawn this many times, so that the result is not one draw's luck.
USUAL_DRAWS = 5


def usual_test(subject: Subject, seed: int, options: Mapping[str, Any] | None = None) -> str:
    """Return what the usual test complains about, or an empty string if it passes.

    Args:
        subject: the layer, built anew for each draw and left at its initial values.
        seed: the seed of the first draw; each further one adds 1.
        options: constructor keywords; the others have the layer's defaults.
    """
    event = (USUAL_CHANNELS, USUAL_SIDE, USUAL_SIDE)
    for draw in range(USUAL_DRAWS):
        case = Case(
            event, USUAL_BATCH, torch.float32, seed=seed + draw, options=dict(options or {})
        )
        try:
            with settings_kept():
                complaint = _one_draw(subject, case)
        except foreign() as error:  # the test notices whatever a layer raises
            complaint = f"raised {type(error).__name__}: {one_line(error)}"
        if complaint:
            return complaint
    return ""


def _one_draw(subject: Subject, case: Case) -> str:
    C, H, W = case.event
    factor = subject.multiple(case)
    x = torch.randn((case.batch, C, H * factor, W * factor), generator=case.generator(2))
    layer = subject.build(case)
    with torch.no_grad():
        z, there = layer(x)
        xh, back = layer.inverse(z)  # type: ignore[operator]
    if (xh.shape, xh.dtype) != (x.shape, x.dtype):
        return f"the inverse returned {tuple(xh.shape)} {xh.dtype}"
    return _apart(xh - x, "round trip") or _apart(there + back, "sum of log-dets")


def _apart(difference: Tensor | float, what: str) -> str:
    """Return a complaint if any entry of ``difference`` is beyond the tolerance or NaN."""
    largest = float(torch.as_tensor(difference).abs().max())
    return "" if largest <= USUAL_ATOL else f"{what} is off by {largest:.3g}"
