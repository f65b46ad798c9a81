"""Layers of zuko under survey."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from studies.survey.entries import Entry, Listing

_BISECTION = "documented: the inverse is found by bisection to an absolute 1e-6"
_ODE = "documented: integrated to absolute 1e-6 and relative 1e-5"
_QUADRATURE = "documented: the integral is estimated by Gauss-Legendre quadrature"


def entries() -> tuple[Entry, ...]:
    listing = Listing("zuko")
    _bare(listing)
    _unconditional(listing)
    _lazy(listing)
    _flows(listing)
    _densities(listing)
    return listing.done()


def _bare(listing: Listing) -> None:
    """Transforms themselves, with their tensors as constants.

    In float64: some keep results of what they were given, and those are not rounded twice.
    """
    from zuko import transforms as zt

    n = functools.partial(torch.randn, dtype=torch.float64)
    listing.add("AdditiveTransform", (4,), lambda: zt.AdditiveTransform(n(4)))
    listing.add("MonotonicAffineTransform", (4,), lambda: zt.MonotonicAffineTransform(n(4), n(4)))
    listing.add(
        "MonotonicRQSTransform",
        (2, 3),
        lambda: zt.MonotonicRQSTransform(n(2, 3, 5), n(2, 3, 5), n(2, 3, 4), bound=2.0),
    )
    listing.add("BernsteinTransform", (3,), lambda: zt.BernsteinTransform(n(3, 6)), _BISECTION)
    listing.add(
        "BoundedBernsteinTransform",
        (3,),
        lambda: zt.BoundedBernsteinTransform(n(3, 8), bound=2.0),
        _BISECTION,
    )
    listing.add(
        "GaussianizationTransform",
        (3,),
        lambda: zt.GaussianizationTransform(n(3, 4), 0.3 * n(3, 4)),
        _BISECTION,
    )
    listing.add(
        "SOSPolynomialTransform",
        (3,),
        lambda: zt.SOSPolynomialTransform(n(3, 2, 4), bound=4.0),
        f"{_BISECTION}; {_QUADRATURE}",
    )
    listing.add("SignedPowerTransform", (4,), lambda: zt.SignedPowerTransform(0.3 * n(4)))
    listing.add("SoftclipTransform", (4,), lambda: zt.SoftclipTransform(bound=3.0))
    listing.add("CircularShiftTransform", (4,), lambda: zt.CircularShiftTransform(bound=2.0))
    listing.add("CosTransform", (3,), lambda: zt.CosTransform())
    listing.add("SinTransform", (3,), lambda: zt.SinTransform())
    listing.add("PermutationTransform", (5,), lambda: zt.PermutationTransform(torch.randperm(5)))
    listing.add("RotationTransform", (4,), lambda: zt.RotationTransform(n(4, 4)))
    listing.add("LULinearTransform", (4,), lambda: zt.LULinearTransform(n(4, 4)))
    listing.add(
        "ComposedTransform inverse",
        (4,),
        lambda: (
            zt.ComposedTransform(
                zt.MonotonicAffineTransform(n(4), n(4)), zt.RotationTransform(n(4, 4))
            ).inv
        ),
    )
    listing.add(
        "DependentTransform",
        (2, 3),
        lambda: zt.DependentTransform(zt.MonotonicAffineTransform(n(2, 3), n(2, 3)), 1),
    )


def _unconditional(listing: Listing) -> None:
    """The same with their tensors as parameters."""
    from zuko import transforms as zt
    from zuko.lazy import UnconditionalTransform

    def add(name: str, event: tuple[int, ...], *shapes: tuple[int, ...], note: str = "") -> None:
        def make() -> Any:
            tensors = [0.5 * torch.randn(shape) for shape in shapes]
            return UnconditionalTransform(getattr(zt, name), *tensors)

        listing.add(f"UnconditionalTransform {name}", event, make, note)

    add("MonotonicAffineTransform", (4,), (4,), (4,))
    add("MonotonicRQSTransform", (3,), (3, 6), (3, 6), (3, 5))
    add("BernsteinTransform", (3,), (3, 6), note=_BISECTION)
    add("BoundedBernsteinTransform", (3,), (3, 8), note=_BISECTION)
    add("GaussianizationTransform", (3,), (3, 4), (3, 4), note=_BISECTION)
    add("SOSPolynomialTransform", (3,), (3, 2, 4), note=f"{_BISECTION}; {_QUADRATURE}")
    add("SignedPowerTransform", (4,), (4,))
    add("RotationTransform", (4,), (4, 4))
    add("LULinearTransform", (4,), (4, 4))


def _lazy(listing: Listing) -> None:
    from zuko import transforms as zt
    from zuko.flows import autoregressive, continuous, coupling, gaussianization

    hidden: dict[str, Any] = {"hidden_features": (8,), "activation": nn.SiLU}
    spline = {"univariate": zt.MonotonicRQSTransform, "shapes": [(5,), (5,), (4,)]}
    chain = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]]

    def mask() -> Tensor:
        return torch.tensor([True, False, False, True, False])

    listing.add(
        "GeneralCouplingTransform",
        (5,),
        lambda: coupling.GeneralCouplingTransform(5, mask=mask(), **hidden),
    )
    listing.add(
        "GeneralCouplingTransform spline",
        (5,),
        lambda: coupling.GeneralCouplingTransform(5, mask=~mask(), **spline, **hidden),
    )
    listing.add(
        "MaskedAutoregressiveTransform adjacency",
        (4,),
        lambda: autoregressive.MaskedAutoregressiveTransform(4, adjacency=chain, **hidden),
    )
    listing.add(
        "MaskedAutoregressiveTransform two passes",
        (5,),
        lambda: autoregressive.MaskedAutoregressiveTransform(
            5, passes=2, order=torch.tensor([3, 0, 4, 1, 2]), **hidden
        ),
    )
    listing.add(
        "ElementWiseTransform spline",
        (4,),
        lambda: gaussianization.ElementWiseTransform(4, **spline),
    )
    listing.add(
        "LazyInverse of GeneralCouplingTransform",
        (5,),
        lambda: coupling.GeneralCouplingTransform(5, mask=mask(), **hidden).inv,
    )
    listing.add(
        "FFJTransform", (3,), lambda: continuous.FFJTransform(3, hidden_features=(8,)), _ODE
    )


def _flows(listing: Listing) -> None:
    from zuko import flows as zf

    hidden: dict[str, Any] = {"hidden_features": (8,), "activation": nn.SiLU}
    plain: dict[str, Any] = {"hidden_features": (8,)}
    listing.add("MAF", (4,), lambda: zf.MAF(4, transforms=2, randperm=True, **hidden))
    listing.add("NSF", (4,), lambda: zf.NSF(4, transforms=2, bins=5, **hidden))
    listing.add(
        "NCSF",
        (3,),
        lambda: zf.NCSF(3, transforms=2, bins=5, **hidden),
        "features are assumed to lie in [-pi, pi)",
    )
    listing.add("RealNVP", (5,), lambda: zf.RealNVP(5, transforms=2, randmask=True, **hidden))
    listing.add("NICE", (5,), lambda: zf.NICE(5, transforms=3, **hidden))
    listing.add("BPF", (3,), lambda: zf.BPF(3, transforms=2, degree=8, **hidden), _BISECTION)
    listing.add("GF", (3,), lambda: zf.GF(3, transforms=2, components=4), _BISECTION)
    listing.add(
        "SOSPF",
        (3,),
        lambda: zf.SOSPF(3, transforms=2, degree=3, polynomials=2, **hidden),
        f"{_BISECTION}; {_QUADRATURE}",
    )
    listing.add(
        "NAF",
        (3,),
        lambda: zf.NAF(3, transforms=2, signal=4, network=plain, **hidden),
        _BISECTION,
    )
    listing.add(
        "UNAF",
        (3,),
        lambda: zf.UNAF(3, transforms=2, signal=4, network=plain, **hidden),
        f"{_BISECTION}; {_QUADRATURE}",
    )
    listing.add("CNF", (3,), lambda: zf.CNF(3, **plain), _ODE)


def _densities(listing: Listing) -> None:
    """Whole flows: ``log_prob`` against samples, one with a context."""
    from zuko import flows as zf

    hidden: dict[str, Any] = {"hidden_features": (8,), "activation": nn.SiLU}
    plain: dict[str, Any] = {"hidden_features": (8,)}
    for name, make in {
        "MAF": lambda: zf.MAF(2, transforms=2, **hidden),
        "NSF": lambda: zf.NSF(2, transforms=2, bins=5, **hidden),
        "RealNVP": lambda: zf.RealNVP(2, transforms=2, **hidden),
        "NICE": lambda: zf.NICE(2, transforms=2, **hidden),
        "BPF": lambda: zf.BPF(2, transforms=2, degree=8, **hidden),
        "GF": lambda: zf.GF(2, transforms=2, components=4),
        "SOSPF": lambda: zf.SOSPF(2, transforms=2, degree=3, polynomials=2, **hidden),
        "NAF": lambda: zf.NAF(2, transforms=2, signal=4, network=plain, **hidden),
        "UNAF": lambda: zf.UNAF(2, transforms=1, signal=4, network=plain, **hidden),
        "CNF": lambda: zf.CNF(2, **plain),
    }.items():
        listing.add(f"density of {name}", (2,), make, density=True)
    listing.add("density of MAF, 5 dimensions", (5,), lambda: zf.MAF(5, **hidden), density=True)
    listing.add(
        "density of MAF with context",
        (2,),
        lambda: zf.MAF(2, 3, transforms=2, **hidden),
        context=(3,),
        density=True,
    )
