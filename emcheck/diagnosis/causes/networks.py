"""Layers whose scales and shifts come from networks that see what they must not see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from emcheck.diagnosis.causes.functions import Replaced
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.consequences import INVERSE, LOGDET, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.oracle.precision import Array

_MIXING = (
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.bilinear, torch.einsum,
    torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.matmul, torch.Tensor.mm,
    torch.Tensor.bmm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__,
)  # fmt: skip


class Held(Replaced):
    """Whatever mixes entries by weights, as the layers of a network do, returns a constant."""

    functions = frozenset(_MIXING)

    def answer(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs).detach()


@hypothesis(
    "network_sees_its_entries",
    rank=SEEN - 4,
    when=WRONG,
    explains=LOGDET | INVERSE | {"map_does_not_fold"},
)
def network_sees_its_entries(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is that of the Jacobian with the outputs of networks held constant."""
    examples = evidence.logdets
    if not evidence.failing & {*UNDONE, "map_does_not_fold"}:
        return  # the inverse is right: the share of the networks is left out of the log-det only
    if sum(e.off.any() for e in examples) < 2 or all((e.got == 0).all() for e in examples):
        return
    own = []
    for e in examples:
        trial = evidence.trial(e.case)
        direct = []
        for row in torch.from_numpy(e.x).to(trial.x):
            with Held() as mode:
                direct.append(trial.by_autograd(row, inverse=False))
            if not mode.calls:
                return
        told = np.linalg.slogdet(np.stack(direct))[1]
        if not np.isfinite(told).all() or not e.fits(told):
            return
        own.append((_own(e.jacobians, np.stack(direct)), e.x[0].size))
    if all(count == entries for count, entries in own):
        return  # all entries: rather a summand of the map whose share in the log-det is forgotten
    most = max(count for count, _ in own)
    reach = f"entries that reach their own scale or shift: {most}" if most else "in a circle"
    yield Fit(
        "network_sees_its_entries",
        "The log-det takes what the networks return as given, but that depends on the entries "
        "that it transforms: a mask or a split lets them through.",
        f"log|det| of the Jacobian with the networks held constant = got in {len(examples)} of "
        f"{len(examples)} batches; {reach}",
    )


def _own(jacobians: Array, direct: Array) -> int:
    """How many entries depend on themselves through networks too."""
    through = np.abs(np.diagonal(jacobians - direct, axis1=1, axis2=2))
    size = np.abs(jacobians).max(axis=(1, 2))[:, None]
    return int((through > 2.0**-30 * size).any(axis=0).sum())
