"""Transforms of Pyro under survey."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from studies.survey.entries import Entry, Listing

_LAST = "documented: only the last output is taken back, from memory"
_SERIES = "documented: a truncated power series"

#: The shape of a context.
_CONTEXT = (3,)


def entries() -> tuple[Entry, ...]:
    listing = Listing("pyro")
    _bare(listing)
    _modules(listing)
    _networks(listing)
    _conditional(listing)
    _composed(listing)
    _densities(listing)
    return listing.done()


def _bare(listing: Listing) -> None:
    """Transforms without parameters of their own."""
    from pyro.distributions import transforms as T

    listing.add("ELUTransform", (4,), lambda: T.ELUTransform())
    listing.add("LeakyReLUTransform", (2, 3), lambda: T.LeakyReLUTransform())
    listing.add("SoftplusTransform", (4,), lambda: T.SoftplusTransform())
    listing.add("PositivePowerTransform", (3,), lambda: T.PositivePowerTransform(1.7))
    listing.add("OrderedTransform", (4,), lambda: T.OrderedTransform())
    listing.add("Permute", (5,), lambda: T.permute(5))
    listing.add("Permute of channels", (4, 2, 3), lambda: T.permute([4, 2, 3], dim=-3))
    listing.add("DiscreteCosineTransform", (5,), lambda: T.DiscreteCosineTransform())
    listing.add(
        "DiscreteCosineTransform smooth", (3, 4), lambda: T.DiscreteCosineTransform(-2, smooth=1.0)
    )
    listing.add("HaarTransform", (8,), lambda: T.HaarTransform(flip=True))
    listing.add("HaarTransform of five", (2, 5), lambda: T.HaarTransform())
    listing.add("LowerCholeskyAffine", (3,), _lower_cholesky)


def _lower_cholesky() -> Any:
    from pyro.distributions import transforms as T

    scale = torch.randn(3, 3, dtype=torch.float64).tril(-1) + torch.diag(torch.rand(3).double() + 1)
    return T.LowerCholeskyAffine(torch.randn(3, dtype=torch.float64), scale)


def _modules(listing: Listing) -> None:
    """Transforms with parameters and no network."""
    from pyro.distributions import transforms as T

    listing.add("BatchNorm", (4,), lambda: T.batchnorm(4))
    listing.add("BatchNorm evaluation mode", (4,), lambda: T.batchnorm(4).eval())
    listing.add(
        "GeneralizedChannelPermute", (3, 2, 4), lambda: T.generalized_channel_permute(channels=3)
    )
    listing.add("Householder", (5,), lambda: T.householder(5))
    listing.add("Householder one", (4,), lambda: T.householder(4, count_transforms=1))
    listing.add("MatrixExponential", (4,), lambda: T.matrix_exponential(4), _SERIES)
    listing.add("Planar", (4,), lambda: T.planar(4), _LAST)
    listing.add("Radial", (4,), lambda: T.radial(4), _LAST)
    listing.add("Sylvester", (4,), lambda: T.sylvester(4), _LAST)
    listing.add("Sylvester one", (3,), lambda: T.sylvester(3, count_transforms=1), _LAST)
    listing.add("Spline linear", (4,), lambda: T.spline(4, count_bins=5, order="linear"))
    listing.add("Spline quadratic", (4,), lambda: T.spline(4, count_bins=5, order="quadratic"))


def _networks(listing: Listing) -> None:
    """Couplings and autoregressive transforms."""
    from pyro.distributions import transforms as T

    def block(**options: Any) -> Any:
        return lambda: T.block_autoregressive(3, hidden_factors=[4, 4], **options)

    listing.add("AffineCoupling", (5,), lambda: T.affine_coupling(5, [8]))
    listing.add(
        "AffineCoupling of channels", (4, 2, 3), lambda: T.affine_coupling([4, 2, 3], [8], dim=-3)
    )
    listing.add("AffineCoupling inverse", (4,), lambda: T.affine_coupling(4, [8]).inv)
    listing.add("AffineAutoregressive", (4,), lambda: T.affine_autoregressive(4, [8]))
    listing.add(
        "AffineAutoregressive stable", (4,), lambda: T.affine_autoregressive(4, [8], stable=True)
    )
    for activation in ("sigmoid", "tanh", "ELU", "LeakyReLU"):
        name = f"NeuralAutoregressive {activation}"
        options: dict[str, Any] = {"activation": activation, "width": 4}
        listing.add(name, (3,), partial(T.neural_autoregressive, 3, [8], **options), _LAST)
    listing.add("BlockAutoregressive", (3,), block(), _LAST)
    listing.add("BlockAutoregressive normal", (3,), block(residual="normal"), _LAST)
    listing.add("BlockAutoregressive gated", (3,), block(residual="gated"), _LAST)
    listing.add("BlockAutoregressive LeakyReLU", (3,), block(activation="LeakyReLU"), _LAST)
    listing.add("Polynomial", (3,), lambda: T.polynomial(3, [8]), _LAST)
    listing.add("SplineCoupling", (5,), lambda: T.spline_coupling(5, hidden_dims=[8], count_bins=5))
    for order in ("linear", "quadratic"):
        listing.add(
            f"SplineAutoregressive {order}",
            (4,),
            partial(T.spline_autoregressive, 4, [8], count_bins=5, order=order),
        )


def _conditional(listing: Listing) -> None:
    """Transforms whose parameters follow from a context."""
    from pyro.distributions import transforms as T

    def add(name: str, event: tuple[int, ...], make: Any, note: str = "") -> None:
        listing.add(name, event, make, note, context=_CONTEXT)

    add("ConditionalPlanar", (4,), lambda: T.conditional_planar(4, 3, [8]), _LAST)
    add("ConditionalRadial", (4,), lambda: T.conditional_radial(4, 3, [8]), _LAST)
    add("ConditionalHouseholder", (4,), lambda: T.conditional_householder(4, 3, [8]))
    add(
        "ConditionalMatrixExponential",
        (3,),
        lambda: T.conditional_matrix_exponential(3, 3, [8]),
        _SERIES,
    )
    add(
        "ConditionalGeneralizedChannelPermute",
        (3, 2, 2),
        lambda: T.conditional_generalized_channel_permute(3, channels=3, hidden_dims=[8]),
    )
    add("ConditionalAffineCoupling", (5,), lambda: T.conditional_affine_coupling(5, 3, [8]))
    add(
        "ConditionalAffineAutoregressive",
        (4,),
        lambda: T.conditional_affine_autoregressive(4, 3, [8]),
    )
    add(
        "ConditionalNeuralAutoregressive",
        (3,),
        lambda: T.conditional_neural_autoregressive(3, 3, [8], width=4),
        _LAST,
    )
    for order in ("linear", "quadratic"):
        add(
            f"ConditionalSpline {order}",
            (3,),
            partial(T.conditional_spline, 3, 3, [8], count_bins=4, order=order),
        )
        add(
            f"ConditionalSplineAutoregressive {order}",
            (3,),
            partial(T.conditional_spline_autoregressive, 3, 3, [8], count_bins=4, order=order),
        )


def _composed(listing: Listing) -> None:
    from pyro.distributions import transforms as T
    from pyro.distributions.conditional import ConditionalComposeTransformModule

    listing.add(
        "ComposeTransformModule",
        (4,),
        lambda: T.ComposeTransformModule([T.affine_coupling(4, [8]), T.householder(4)]),
    )
    listing.add(
        "ComposeTransform planar", (4,), lambda: T.ComposeTransform([T.planar(4), T.permute(4)]),
        _LAST,
    )  # fmt: skip
    listing.add(
        "ConditionalComposeTransformModule",
        (4,),
        lambda: ConditionalComposeTransformModule(
            [T.conditional_affine_coupling(4, 3, [8]), T.permute(4)], cache_size=1
        ),
        context=_CONTEXT,
    )


class _Trained(nn.Module):
    """``TransformedDistribution`` of a standard normal base, made anew at every call."""

    def __init__(self, transform: Any, size: int) -> None:
        super().__init__()
        self.transform, self.size = transform, size

    def forward(self) -> Any:
        from pyro import distributions as dist

        like = next(self.transform.parameters())
        base = dist.Normal(like.new_zeros(self.size), like.new_ones(self.size)).to_event(1)
        return dist.TransformedDistribution(base, [self.transform])


def _densities(listing: Listing) -> None:
    """Whole flows: ``log_prob`` against samples."""
    from pyro.distributions import transforms as T

    def add(name: str, make: Any) -> None:
        listing.add(
            f"density of {name}", (2,), lambda: _Trained(make(), 2), density=True
        )  # fmt: skip

    add("affine_coupling", lambda: T.affine_coupling(2, [8]))
    add("spline quadratic", lambda: T.spline(2, count_bins=5, order="quadratic"))
