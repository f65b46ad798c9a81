"""Transforms and flows of zflows under survey."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from emcheck.adapters import adapt
from studies.survey.entries import Entry, Listing

_STEPS = "documented: integrated by a fixed number of Runge-Kutta steps in either direction"
_APPROXIMATE = frozenset({"exact_inverse", "exact_logdet"})
_BOX = "maps its box onto itself and is the identity outside"


def entries() -> tuple[Entry, ...]:
    listing = Listing("zflows")
    _bare(listing)
    _lazy(listing)
    _flows(listing)
    return listing.done()


def _bare(listing: Listing) -> None:
    """Transforms themselves, with their tensors as constants in float64."""
    from zflows.core import transforms as zt

    n = partial(torch.randn, dtype=torch.float64)
    listing.add("AdditiveTransform", (4,), lambda: zt.AdditiveTransform(n(4)))
    listing.add("MonotonicAffineTransform", (4,), lambda: zt.MonotonicAffineTransform(n(4), n(4)))
    listing.add(
        "MonotonicRQSTransform",
        (2, 3),
        lambda: zt.MonotonicRQSTransform(n(2, 3, 5), n(2, 3, 5), n(2, 3, 4), bound=2.0),
    )
    listing.add("RotationTransform", (4,), lambda: zt.RotationTransform(n(4, 4)))
    listing.add("LULinearTransform", (4,), lambda: zt.LULinearTransform(n(4, 4)))
    listing.add(
        "DependentTransform",
        (2, 3),
        lambda: zt.DependentTransform(zt.MonotonicAffineTransform(n(2, 3), n(2, 3)), 1),
    )
    listing.add(
        "ComposedTransform inverse",
        (4,),
        lambda: (
            zt.ComposedTransform(
                zt.DependentTransform(zt.MonotonicAffineTransform(n(4), n(4)), 1),
                zt.RotationTransform(n(4, 4)),
            ).inv
        ),
    )


def _made(module: nn.Module, way: str = "forward", lacks: frozenset[str] = frozenset()) -> Any:
    """A module that makes its transform at every call, by ``call_and_ladj``."""

    def forward(module: Any, x: torch.Tensor) -> Any:
        return getattr(module, way)().call_and_ladj(x)

    def inverse(module: Any, z: torch.Tensor) -> Any:
        return getattr(module, way)().inv.call_and_ladj(z)

    made: Any = adapt(module, forward=forward, inverse=inverse)
    made.lacks = lacks
    return made


def _mixing(kind: str) -> Any:
    from zflows.core.flows import LinearMixingTransform

    return _made(LinearMixingTransform(4, kind=kind))


def _lazy(listing: Listing) -> None:
    from zflows.core import flows as zl

    hidden: dict[str, Any] = {"hidden_features": (8,), "activation": nn.SiLU}
    mask = [True, False, False, True, False]
    listing.add(
        "MaskedAutoregressiveTransform",
        (4,),
        lambda: _made(zl.MaskedAutoregressiveTransform(4, order=[2, 0, 3, 1], **hidden)),
    )
    listing.add(
        "GeneralCouplingTransform",
        (5,),
        lambda: _made(zl.GeneralCouplingTransform(5, mask=mask, **hidden)),
    )
    for kind in ("rotation", "lu"):
        listing.add(
            f"LinearMixingTransform {kind}",
            (4,),
            partial(_mixing, kind),
        )


def _flows(listing: Listing) -> None:
    from zflows import flow as zflow

    hidden: dict[str, Any] = {"hidden_features": (8,), "activation": nn.SiLU}
    box = ([-2.0, -1.0, 0.0], [2.0, 3.0, 1.0])
    listing.add(
        "NSF", (3,), lambda: _made(zflow.NSF(*box, bins=5, transforms=2, **hidden), "t"), _BOX
    )
    listing.add("RealNVP", (4,), lambda: _made(zflow.RealNVP(4, transforms=2, **hidden), "t"))
    listing.add(
        "CNF", (3,), lambda: _made(zflow.CNF(3, **hidden), "t", _APPROXIMATE), _STEPS
    )  # fmt: skip
    listing.add("OTFlow", (3,), lambda: _made(zflow.OTFlow(3, hidden=8), "t", _APPROXIMATE), _STEPS)
