"""Layers of normflows under survey."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn

from studies.survey.entries import Entry, Listing

#: What the library's documentation says of a layer.
_BATCH = "normalises by the statistics of each batch"
_NO_INVERSE = "documented: no algebraic inverse"
_ESTIMATE = "Lipschitz networks keep an estimate of their norm that a moved weight outdates"
_ITERATIVE = "the inverse is a fixed-point iteration with a fixed tolerance"


def entries() -> tuple[Entry, ...]:
    listing = Listing("normflows")
    _linear(listing)
    _couplings(listing)
    _glow(listing)
    _splines(listing)
    _others(listing)
    _compositions(listing)
    _densities(listing)
    return listing.done()


def mlp(inputs: int, outputs: int, width: int = 8) -> nn.Module:
    """A smooth network of one hidden layer for couplings."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


def _linear(listing: Listing) -> None:
    from normflows import flows as nf

    listing.add("ActNorm", (5,), lambda: nf.ActNorm(5))
    listing.add("ActNorm image", (3, 4, 5), lambda: nf.ActNorm((3, 1, 1)))
    listing.add("ActNorm image C=1", (1, 4, 5), lambda: nf.ActNorm((1, 1, 1)))
    listing.add("AffineConstFlow elementwise", (2, 5), lambda: nf.AffineConstFlow((2, 5)))
    listing.add("AffineConstFlow channels", (3, 2, 4), lambda: nf.AffineConstFlow((3, 1, 1)))
    listing.add("Invertible1x1Conv", (4, 3, 5), lambda: nf.Invertible1x1Conv(4))
    listing.add("Invertible1x1Conv LU", (4, 3, 5), lambda: nf.Invertible1x1Conv(4, use_lu=True))
    listing.add("InvertibleAffine", (5,), lambda: nf.InvertibleAffine(5, use_lu=False))
    listing.add("InvertibleAffine LU", (5,), lambda: nf.InvertibleAffine(5, use_lu=True))
    listing.add("LULinearPermute", (6,), lambda: nf.LULinearPermute(6, identity_init=False))
    listing.add("Permute shuffle", (5, 2, 3), lambda: nf.Permute(5, "shuffle"))
    listing.add("Permute swap odd", (5,), lambda: nf.Permute(5, "swap"))
    listing.add("Squeeze", (8, 2, 3), lambda: nf.Squeeze())
    listing.add("Split channel_inv odd", (5, 2, 3), lambda: nf.Split("channel_inv"))
    listing.add("Split checkerboard_inv", (2, 3, 4), lambda: nf.Split("checkerboard_inv"))
    listing.add("Merge channel odd", (5, 2, 3), lambda: nf.Merge("channel"))
    listing.add("Merge checkerboard", (2, 3, 4), lambda: nf.Merge("checkerboard"))


def _couplings(listing: Listing) -> None:
    from normflows import flows as nf
    from normflows.nets import ConvNet2d

    def net(inputs: int, outputs: int) -> Any:
        return ConvNet2d((inputs, 6, 6, outputs), (3, 1, 3), leaky=0.1, init_zeros=False)

    def vectors(scale_map: str) -> Any:
        return nf.AffineCouplingBlock(mlp(3, 4), scale_map=scale_map)

    def masked(**networks: Any) -> Any:
        return nf.MaskedAffineFlow(torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0]), **networks)

    listing.add("MaskedAffineFlow", (5,), lambda: masked(t=mlp(5, 5), s=mlp(5, 5)))
    listing.add("MaskedAffineFlow NICE", (5,), lambda: masked(t=mlp(5, 5)))
    for scale_map in ("exp", "sigmoid", "sigmoid_inv"):
        listing.add(f"AffineCouplingBlock {scale_map}", (5,), partial(vectors, scale_map))
    listing.add("AffineCoupling pair", (5,), lambda: nf.AffineCoupling(mlp(3, 4), scale_map="exp"))
    listing.add(
        "AffineCouplingBlock channel_inv image",
        (5, 3, 4),
        lambda: nf.AffineCouplingBlock(net(2, 6), split_mode="channel_inv"),
    )
    listing.add(
        "AffineCouplingBlock checkerboard",
        (2, 3, 4),
        lambda: nf.AffineCouplingBlock(net(2, 4), scale_map="sigmoid", split_mode="checkerboard"),
    )
    listing.add(
        "AffineCouplingBlock additive checkerboard_inv",
        (2, 3, 4),
        lambda: nf.AffineCouplingBlock(net(2, 2), scale=False, split_mode="checkerboard_inv"),
    )


def _glow(listing: Listing) -> None:
    from normflows.flows import GlowBlock

    listing.add("GlowBlock", (5, 3, 4), lambda: GlowBlock(5, 6, init_zeros=False))
    listing.add(
        "GlowBlock dense exp channel_inv",
        (5, 4, 3),
        lambda: GlowBlock(
            5, 6, scale_map="exp", split_mode="channel_inv", use_lu=False, init_zeros=False
        ),
    )
    listing.add(
        "GlowBlock one channel checkerboard",
        (1, 3, 4),
        lambda: GlowBlock(1, 6, split_mode="checkerboard", init_zeros=False, leaky=0.2),
    )
    listing.add(
        "GlowBlock additive net_actnorm",
        (4, 3, 2),
        lambda: GlowBlock(4, 6, scale=False, net_actnorm=True, init_zeros=False),
    )


def _splines(listing: Listing) -> None:
    from normflows import flows as nf

    listing.add(
        "CoupledRationalQuadraticSpline",
        (5,),
        lambda: nf.CoupledRationalQuadraticSpline(5, 1, 12, num_bins=5, tail_bound=1.0),
    )
    listing.add(
        "CoupledRationalQuadraticSpline no tails",
        (4,),
        lambda: nf.CoupledRationalQuadraticSpline(
            4, 1, 12, num_bins=6, tails=None, reverse_mask=True
        ),
        "tails=None with the default tail_bound: defined on [0, 1]",
    )
    listing.add(
        "AutoregressiveRationalQuadraticSpline",
        (4,),
        lambda: nf.AutoregressiveRationalQuadraticSpline(
            4, 1, 12, num_bins=5, tail_bound=1.0, permute_mask=True, init_identity=False
        ),
    )
    for bound in (1.0, 8.0):  # the bounded coordinates stay inside; the others pass 1, not 8
        options = {"num_bins": 5, "tail_bound": bound, "init_identity": False}
        note = "some coordinates are circular within the bound, the others are not bounded"
        listing.add(
            f"CircularCoupledRationalQuadraticSpline bound {bound:g}",
            (5,),
            partial(nf.CircularCoupledRationalQuadraticSpline, 5, 1, 12, [0, 3], **options),
            note,
        )
        listing.add(
            f"CircularAutoregressiveRationalQuadraticSpline bound {bound:g}",
            (4,),
            partial(nf.CircularAutoregressiveRationalQuadraticSpline, 4, 1, 12, [1, 2], **options),
            note,
        )


def _others(listing: Listing) -> None:
    from normflows import flows as nf
    from normflows import nets, transforms

    listing.add("MaskedAffineAutoregressive", (5,), lambda: nf.MaskedAffineAutoregressive(5, 12))
    listing.add("Planar leaky_relu", (4,), lambda: nf.Planar((4,), act="leaky_relu"))
    listing.add("Planar tanh", (4,), lambda: nf.Planar((4,)), _NO_INVERSE)
    listing.add("Radial", (4,), lambda: nf.Radial((4,)), _NO_INVERSE)
    listing.add("BatchNorm", (4,), lambda: nf.BatchNorm(), f"{_BATCH}; no inverse")
    listing.add("PeriodicShift", (4,), lambda: nf.PeriodicShift([0, 2], bound=math.pi, shift=0.7))
    listing.add("PeriodicWrap", (4,), lambda: nf.PeriodicWrap([1, 3], bound=2.0))
    listing.add(
        "Residual brute force",
        (2,),
        lambda: nf.Residual(nets.LipschitzMLP([2, 8, 2], init_zeros=False), brute_force=True),
        f"{_ITERATIVE}; {_ESTIMATE}",
    )
    listing.add("Logit", (2, 3, 2), lambda: transforms.Logit(alpha=0.05))
    listing.add("Shift", (3, 2), lambda: transforms.Shift(-0.5))


def _compositions(listing: Listing) -> None:
    import normflows
    from normflows import distributions
    from normflows import flows as nf

    def steps() -> list[Any]:
        return [
            nf.MaskedAffineFlow(torch.tensor([1.0, 0.0, 1.0, 0.0]), mlp(4, 4), mlp(4, 4)),
            nf.LULinearPermute(4, identity_init=False),
            nf.AffineConstFlow((4,)),
        ]

    def multiscale() -> Any:
        flows = [[nf.GlowBlock(2 ** (3 - i), 6, init_zeros=False), nf.Squeeze()] for i in range(2)]
        shapes = [(8, 1, 2), (2, 2, 4)]
        bases = [distributions.DiagGaussian(shape, trainable=False) for shape in shapes]
        return normflows.MultiscaleFlow(bases, flows, [nf.Merge()], class_cond=False)

    listing.add("Composite", (4,), lambda: nf.Composite(steps()))
    listing.add("Reverse of LULinearPermute", (4,), lambda: nf.Reverse(steps()[1]))
    listing.add(
        "NormalizingFlow",
        (4,),
        lambda: normflows.NormalizingFlow(distributions.DiagGaussian(4), steps()),
    )
    listing.add("MultiscaleFlow Glow", (1, 4, 8), multiscale)


def _densities(listing: Listing) -> None:
    """Whole flows: ``log_prob`` against samples, one of them conditional."""
    import normflows
    from normflows import distributions
    from normflows import flows as nf

    def of(*steps: Any) -> Any:
        return normflows.NormalizingFlow(distributions.DiagGaussian(2), list(steps))

    def residual() -> Any:
        net = normflows.nets.LipschitzMLP([2, 8, 2], lipschitz_const=0.9)
        return of(nf.Residual(net, reduce_memory=False))

    for name, make in {
        "MaskedAffineAutoregressive": lambda: of(nf.MaskedAffineAutoregressive(2, 8)),
        "AutoregressiveRationalQuadraticSpline": lambda: of(
            nf.AutoregressiveRationalQuadraticSpline(2, 1, 8, num_bins=5)
        ),
        "LULinearPermute": lambda: of(nf.LULinearPermute(2, identity_init=False)),
        "Planar, leaky": lambda: of(nf.Planar((2,), act="leaky_relu")),
        "Residual": residual,
    }.items():
        listing.add(f"density of {name}", (2,), make, density=True)
    listing.add(
        "density of ConditionalNormalizingFlow",
        (2,),
        lambda: normflows.ConditionalNormalizingFlow(
            distributions.DiagGaussian(2), [nf.MaskedAffineAutoregressive(2, 8, context_features=3)]
        ),
        context=(3,),
        density=True,
    )
