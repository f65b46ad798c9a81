"""Bijections of torchflows under survey."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from emcheck.adapters import adapt
from studies.survey.entries import Entry, Listing

_ONE_WAY = "documented: one direction alone, the library's inverse, which is forward here"
_BISECTION = "the inverse is found by bisection in [-10, 10]"

#: The shape of a context.
_CONTEXT = (3,)

#: Couplings and autoregressive layers, and those that are inverted by bisection.
_COUPLINGS = ("Affine", "InverseAffine", "Shift", "LRS", "RQS")
_MASKED = ("AffineForward", "AffineInverse", "RQSForward")
_SIGMOIDS = ("DeepSigmoidal", "DenseSigmoidal", "DeepDenseSigmoidal")


def entries() -> tuple[Entry, ...]:
    listing = Listing("torchflows")
    _elementwise(listing)
    _networks(listing)
    _matrices(listing)
    _residual(listing)
    _images(listing)
    _flows(listing)
    return listing.done()


def _elementwise(listing: Listing) -> None:
    from torchflows.bijections.finite.autoregressive import layers

    for name in ("Affine", "InverseAffine", "Scale", "Shift", "RQSpline"):
        cls = getattr(layers, f"Elementwise{name}")
        listing.add(f"Elementwise{name}", (2, 3), partial(cls, (2, 3)))
    listing.add("ActNorm", (4,), lambda: layers.ActNorm((4,)))


def _networks(listing: Listing) -> None:
    from torchflows.bijections.finite.autoregressive import layers

    for name in _COUPLINGS:
        cls = getattr(layers, f"{name}Coupling")
        listing.add(f"{name}Coupling", (5,), partial(cls, (5,)))
    for name in _MASKED:
        cls = getattr(layers, f"{name}MaskedAutoregressive")
        listing.add(cls.__name__, (3,), partial(cls, (3,)))
    for name in _SIGMOIDS:
        cls = getattr(layers, f"{name}Coupling")
        listing.add(cls.__name__, (4,), partial(_forward, cls), _BISECTION)
    listing.add(
        "AffineCoupling with context",
        (4,),
        lambda: layers.AffineCoupling((4,), context_shape=_CONTEXT),
        context=_CONTEXT,
    )


def _forward(cls: Any) -> Any:
    """A bijection by its forward alone: a bisection is no exact inverse, and slow."""
    return adapt(cls((4,)), forward=lambda layer, x: layer.forward(x))


def _backward(cls: Any, features: int = 4) -> Any:
    """A bijection by the one direction that it has."""
    return adapt(cls((features,)), forward=lambda layer, z: layer.inverse(z))


def _matrices(listing: Listing) -> None:
    from torchflows.bijections.finite import matrix
    from torchflows.bijections.finite.matrix import permutation

    triangular = ("UpperTriangularInvertibleMatrix", "LowerTriangularInvertibleMatrix")
    triangular = ("UpperTriangularInvertibleMatrix", "LowerTriangularInvertibleMatrix")
    for name in ("LUMatrix", "QRMatrix", "HouseholderProductMatrix", *triangular):
        cls = getattr(matrix, name)
        listing.add(name, (4,), partial(cls, (4,)))
    for name in ("RandomPermutationMatrix", "ReversePermutationMatrix"):
        cls = getattr(permutation, name)
        listing.add(name, (2, 3), partial(cls, torch.Size((2, 3))))


def _residual(listing: Listing) -> None:
    from torchflows.bijections.finite.residual.planar import Planar
    from torchflows.bijections.finite.residual.radial import Radial
    from torchflows.bijections.finite.residual.sylvester import (
        HouseholderSylvester,
        IdentitySylvester,
    )

    for cls in (Planar, Radial, HouseholderSylvester, IdentitySylvester):
        listing.add(cls.__name__, (4,), partial(_backward, cls), _ONE_WAY)
    listing.add("Radial in one dimension", (1,), partial(_backward, Radial, 1), _ONE_WAY)


def _images(listing: Listing) -> None:
    from torchflows.bijections.finite.autoregressive.transformers.linear.affine import Affine
    from torchflows.bijections.finite.multiscale import base

    event = (2, 4, 4)
    listing.add("Squeeze", event, lambda: base.Squeeze(event))
    listing.add("CheckerboardCoupling", event, lambda: base.CheckerboardCoupling(event, Affine))
    listing.add("ChannelWiseCoupling", event, lambda: base.ChannelWiseCoupling(event, Affine))
    listing.add(
        "Invertible1x1ConvolutionalCoupling",
        event,
        lambda: base.Invertible1x1ConvolutionalCoupling(event),
    )


def _flows(listing: Listing) -> None:
    """Compositions, and whole flows: ``log_prob`` against samples."""
    from torchflows.bijections.finite.autoregressive import architectures
    from torchflows.flows import Flow

    def flow(cls: Any) -> Any:
        return Flow(cls((2,), n_layers=2))

    listing.add("RealNVP", (4,), lambda: architectures.RealNVP((4,), n_layers=2))
    for name in ("RealNVP", "CouplingDeepSF"):
        cls = getattr(architectures, name)
        listing.add(f"density of {name}", (2,), partial(flow, cls), density=True)
