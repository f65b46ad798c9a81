"""Layers of nflows under survey."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studies.survey.entries import Entry, Listing
from studies.survey.nflows_networks import autoregressive, couplings

_BATCH = "in training mode it normalises by the statistics of each batch"


def entries() -> tuple[Entry, ...]:
    listing = Listing("nflows")
    _linear(listing)
    _normalization(listing)
    _elementwise(listing)
    couplings(listing)
    autoregressive(listing)
    _compositions(listing)
    _densities(listing)
    return listing.done()


def _linear(listing: Listing) -> None:
    from nflows import transforms as nt

    listing.add("LULinear", (5,), lambda: nt.LULinear(5, identity_init=False))
    listing.add(
        "LULinear cached in eval mode",
        (5,),
        lambda: nt.LULinear(5, using_cache=True, identity_init=False).eval(),
        "using_cache=True keeps results of eval mode until train() is called",
    )
    listing.add("QRLinear", (5,), lambda: nt.QRLinear(5, num_householder=3))
    listing.add("SVDLinear", (5,), lambda: nt.SVDLinear(5, num_householder=4, identity_init=False))
    listing.add("NaiveLinear", (5,), lambda: nt.NaiveLinear(5, orthogonal_initialization=False))
    listing.add("HouseholderSequence", (5,), lambda: nt.HouseholderSequence(5, num_transforms=3))
    listing.add(
        "OneByOneConvolution",
        (4, 3, 5),
        lambda: nt.OneByOneConvolution(4, identity_init=False),
    )
    listing.add("RandomPermutation", (5,), lambda: nt.RandomPermutation(5))
    listing.add("ReversePermutation of rows", (2, 3, 4), lambda: nt.ReversePermutation(3, dim=2))
    listing.add("SqueezeTransform", (3, 4, 6), lambda: nt.SqueezeTransform(2))
    listing.add("SqueezeTransform factor 3", (1, 6, 3), lambda: nt.SqueezeTransform(3))
    listing.add(
        "PointwiseAffineTransform",
        (4,),
        lambda: nt.PointwiseAffineTransform(torch.tensor([1.0, 0.0, -1.0, 2.0]), 0.5),
    )
    listing.add(
        "PointwiseAffineTransform channels",
        (3, 2, 4),
        lambda: nt.PointwiseAffineTransform(0.3, torch.tensor([0.5, 2.0, 3.0]).view(3, 1, 1)),
    )


def _normalization(listing: Listing) -> None:
    from nflows import transforms as nt

    def trained() -> Any:
        layer = nt.BatchNorm(4)
        for _ in range(10):
            layer(2 * torch.randn(16, 4) + 1)
        return layer.eval()

    listing.add("ActNorm", (5,), lambda: nt.ActNorm(5))
    listing.add("ActNorm image", (3, 4, 5), lambda: nt.ActNorm(3))
    listing.add("BatchNorm after ten batches, eval mode", (4,), trained, _BATCH)
    listing.add("BatchNorm training mode", (4,), lambda: nt.BatchNorm(4), _BATCH)


class Conditioned(nn.Module):
    """A transform of nflows with one context for all samples, learnt with it."""

    def __init__(self, layer: nn.Module, context: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.context = nn.Parameter(context)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x, self.context.expand(len(x), -1))
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        context = self.context.expand(len(z), -1)
        x, logdet = self.layer.inverse(z, context)  # type: ignore[operator]
        return x, logdet


def _elementwise(listing: Listing) -> None:
    from nflows import transforms as nt
    from nflows.transforms.nonlinearities import CauchyCDF

    listing.add("Sigmoid temperature 2", (2, 3), lambda: nt.Sigmoid(2.0, learn_temperature=True))
    listing.add("Logit", (4,), lambda: nt.Logit())
    listing.add("Tanh", (2, 3, 2), lambda: nt.Tanh())
    listing.add("LogTanh", (5,), lambda: nt.LogTanh(cut_point=0.8))
    listing.add("LeakyReLU", (2, 3), lambda: nt.LeakyReLU(0.3))
    listing.add("CauchyCDF", (4,), lambda: CauchyCDF())
    listing.add(
        "GatedLinearUnit one feature",
        (1,),
        lambda: Conditioned(nt.GatedLinearUnit(), torch.randn(1, 1)),
        "needs a context: here one number for all samples",
    )
    listing.add(
        "GatedLinearUnit",
        (4,),
        lambda: Conditioned(nt.GatedLinearUnit(), torch.randn(1, 4)),
        "needs a context: here one vector for all samples",
    )
    listing.add("PiecewiseLinearCDF", (4,), lambda: nt.PiecewiseLinearCDF([4], num_bins=6))
    listing.add(
        "PiecewiseLinearCDF tails",
        (2, 3),
        lambda: nt.PiecewiseLinearCDF([2, 3], num_bins=6, tails="linear"),
    )
    listing.add("PiecewiseQuadraticCDF", (4,), lambda: nt.PiecewiseQuadraticCDF([4], num_bins=6))
    listing.add(
        "PiecewiseQuadraticCDF tails",
        (4,),
        lambda: nt.PiecewiseQuadraticCDF([4], num_bins=6, tails="linear", tail_bound=2.0),
    )
    listing.add("PiecewiseCubicCDF", (4,), lambda: nt.PiecewiseCubicCDF([4], num_bins=6))
    listing.add(
        "PiecewiseRationalQuadraticCDF image",
        (2, 2, 3),
        lambda: nt.PiecewiseRationalQuadraticCDF([2, 2, 3], num_bins=5),
    )
    listing.add(
        "CompositeCDFTransform",
        (4,),
        lambda: nt.CompositeCDFTransform(
            nt.Sigmoid(), nt.PiecewiseRationalQuadraticCDF(4, num_bins=5)
        ),
    )


def _compositions(listing: Listing) -> None:
    from nflows import transforms as nt
    from nflows.flows import SimpleRealNVP

    def multiscale() -> Any:
        layer = nt.MultiscaleCompositeTransform(num_transforms=2)
        hidden = layer.add_transform(nt.OneByOneConvolution(4, identity_init=False), (4, 2, 3))
        layer.add_transform(nt.ActNorm(hidden[0]), hidden)
        return layer

    listing.add(
        "CompositeTransform",
        (4,),
        lambda: nt.CompositeTransform(
            [nt.LULinear(4, identity_init=False), nt.LeakyReLU(0.5), nt.ReversePermutation(4)]
        ),
    )
    listing.add(
        "InverseTransform of SVDLinear",
        (4,),
        lambda: nt.InverseTransform(nt.SVDLinear(4, num_householder=2, identity_init=False)),
    )
    listing.add("MultiscaleCompositeTransform", (4, 2, 3), multiscale)
    listing.add("SimpleRealNVP", (4,), lambda: SimpleRealNVP(4, 8, 2, 1, activation=F.silu))


def _densities(listing: Listing) -> None:
    """Whole flows: ``log_prob`` against samples, one with a context."""
    from nflows import distributions, flows
    from nflows import transforms as nt

    def conditional() -> Any:
        steps = [nt.MaskedAffineAutoregressiveTransform(2, 8, context_features=3, num_blocks=1)]
        return flows.Flow(nt.CompositeTransform(steps), distributions.StandardNormal([2]))

    for name, make in {
        "SimpleRealNVP": lambda: flows.SimpleRealNVP(2, 8, 2, 1, activation=F.silu),
        "MaskedAutoregressiveFlow": lambda: flows.MaskedAutoregressiveFlow(2, 8, 2, 1),
        "MaskedPiecewiseRationalQuadraticAutoregressiveTransform": lambda: flows.Flow(
            nt.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                2, 8, num_bins=5, tails="linear"
            ),
            distributions.StandardNormal([2]),
        ),
    }.items():
        listing.add(f"density of {name}", (2,), make, density=True)
    listing.add("density with context", (2,), conditional, context=(3,), density=True)
