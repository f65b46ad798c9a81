"""Layers of FrEIA under survey."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from studies.survey.entries import Entry, Listing

_ESTIMATE = "documented: the log-det is a truncated, random estimate"
_ROUNDED = "its rotation is drawn once and rounded to float32, whatever dtype follows"
_PROJECTED = "documented: orthogonal only after a projection at intervals of training"


def entries() -> tuple[Entry, ...]:
    listing = Listing("FrEIA")
    _blocks(listing)
    _couplings(listing)
    _linear(listing)
    _elementwise(listing)
    _reshapes(listing)
    _networks(listing)
    return listing.done()


def dense(inputs: int, outputs: int) -> nn.Module:
    """A smooth network of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, 8), nn.SiLU(), nn.Linear(8, outputs))


def conv(inputs: int, outputs: int) -> nn.Module:
    """A smooth convolutional network of one hidden layer."""
    first = nn.Conv2d(inputs, 6, 3, padding=1)
    return nn.Sequential(first, nn.SiLU(), nn.Conv2d(6, outputs, 1))


def matrix(n: int) -> Tensor:
    """A random matrix in float64: what a module computes from it once is not rounded twice."""
    return torch.randn(n, n, dtype=torch.float64) + 2 * torch.eye(n, dtype=torch.float64)


def _blocks(listing: Listing) -> None:
    from FrEIA.modules import AllInOneBlock

    def add(name: str, event: tuple[int, ...], **options: Any) -> None:
        net = conv if len(event) == 3 else dense
        listing.add(
            f"AllInOneBlock{name}",
            event,
            lambda: AllInOneBlock([event], subnet_constructor=net, **options),
            _ROUNDED if "permute_soft" in options else "",
        )

    add("", (5,))
    add(" SIGMOID", (5,), global_affine_type="SIGMOID", global_affine_init=0.7)
    add(" EXP", (5,), global_affine_type="EXP", global_affine_init=1.5)
    add(" gin_block", (5,), gin_block=True)
    add(" permute_soft", (5,), permute_soft=True)
    add(" householder", (5,), learned_householder_permutation=2)
    add(" reverse_permutation", (5,), reverse_permutation=True)
    add(" householder reverse image", (4, 2, 3), learned_householder_permutation=1,
        reverse_permutation=True)  # fmt: skip
    add(" image", (5, 3, 4), affine_clamping=1.0)
    add(" gin_block image", (4, 3, 2), gin_block=True, permute_soft=True)


def _couplings(listing: Listing) -> None:
    from FrEIA import modules as fm

    def add(name: str, cls: Any, event: tuple[int, ...], **options: Any) -> None:
        net = conv if len(event) == 3 else dense
        listing.add(name, event, lambda: cls([event], subnet_constructor=net, **options))

    add("NICECouplingBlock", fm.NICECouplingBlock, (5,))
    add("RNVPCouplingBlock", fm.RNVPCouplingBlock, (5,), clamp=1.5)
    add("RNVPCouplingBlock TANH image", fm.RNVPCouplingBlock, (3, 2, 4), clamp_activation="TANH")
    add("GLOWCouplingBlock", fm.GLOWCouplingBlock, (5,), split_len=0.3)
    add(
        "GLOWCouplingBlock SIGMOID image",
        fm.GLOWCouplingBlock,
        (4, 3, 2),
        clamp_activation="SIGMOID",
        split_len=1,
    )
    add("GINCouplingBlock", fm.GINCouplingBlock, (6,))
    add("GINCouplingBlock image", fm.GINCouplingBlock, (4, 2, 3))
    add("AffineCouplingOneSided", fm.AffineCouplingOneSided, (5,))
    add("AffineCouplingOneSided image", fm.AffineCouplingOneSided, (3, 2, 4), clamp=1.0)


def _linear(listing: Listing) -> None:
    from FrEIA import modules as fm

    listing.add("ActNorm", (5,), lambda: fm.ActNorm([(5,)]))
    listing.add("ActNorm image", (3, 4, 5), lambda: fm.ActNorm([(3, 4, 5)]))
    listing.add("PermuteRandom", (4, 2, 3), lambda: fm.PermuteRandom([(4, 2, 3)]))
    listing.add(
        "FixedLinearTransform",
        (4,),
        lambda: fm.FixedLinearTransform([(4,)], M=matrix(4), b=torch.randn(4)),
    )
    listing.add("Fixed1x1Conv", (3, 2, 4), lambda: fm.Fixed1x1Conv([(3, 2, 4)], M=matrix(3)))
    listing.add("OrthogonalTransform", (5,), lambda: fm.OrthogonalTransform([(5,)]), _PROJECTED)
    listing.add("HouseholderPerm", (5,), lambda: fm.HouseholderPerm([(5,)], n_reflections=3))
    listing.add(
        "HouseholderPerm fixed",
        (5,),
        lambda: fm.HouseholderPerm([(5,)], n_reflections=4, fixed=True),
        _ROUNDED,
    )


def _elementwise(listing: Listing) -> None:
    from FrEIA import modules as fm

    def residual() -> Any:
        layer = fm.IResNetLayer([(3,)], internal_size=6, hutchinson_samples=2)
        layer.lipschitz_correction()
        return layer

    listing.add("InvAutoAct", (4,), lambda: fm.InvAutoAct([(4,)]))
    listing.add("InvAutoActTwoSided image", (2, 3, 4), lambda: fm.InvAutoActTwoSided([(2, 3, 4)]))
    listing.add(
        "LearnedElementwiseScaling",
        (2, 3, 2),
        lambda: fm.LearnedElementwiseScaling([(2, 3, 2)], init_scale=1.5),
    )
    listing.add("InvertibleSigmoid", (4,), lambda: fm.InvertibleSigmoid([(4,)]))
    listing.add("InvertibleSigmoid image", (2, 3, 2), lambda: fm.InvertibleSigmoid([(2, 3, 2)]))
    listing.add("IResNetLayer", (3,), residual, _ESTIMATE)


def _reshapes(listing: Listing) -> None:
    from FrEIA import modules as fm

    event, deep = (2, 4, 6), (8, 2, 3)
    for legacy in (False, True):
        mode = " legacy" if legacy else ""
        for name, shape in (("IRevNetDownsampling", event), ("IRevNetUpsampling", deep)):
            make = partial(getattr(fm, name), [shape], legacy_backend=legacy)
            listing.add(f"{name}{mode}", shape, make)
    for by_wavelet, rebalance in ((False, 1.0), (False, 2.0), (True, 0.5)):
        order = " by wavelet" if by_wavelet else ""
        for name, shape in (("HaarDownsampling", event), ("HaarUpsampling", deep)):
            options = {"order_by_wavelet": by_wavelet, "rebalance": rebalance}
            make = partial(getattr(fm, name), [shape], **options)
            listing.add(f"{name}{order} rebalance {rebalance:g}", shape, make)
    listing.add("Flatten", (2, 3, 2), lambda: fm.Flatten([(2, 3, 2)]))
    listing.add("Reshape", (2, 6), lambda: fm.Reshape([(2, 6)], output_dims=(3, 2, 2)))
    listing.add("Split", (5, 2, 3), lambda: fm.Split([(5, 2, 3)], section_sizes=[2, 3], dim=0))
    listing.add("Concat", (20,), lambda: fm.Concat([(2, 2, 2), (3, 2, 2)], dim=0))


def _networks(listing: Listing) -> None:
    from FrEIA import framework as ff
    from FrEIA import modules as fm

    def sequence() -> Any:
        inn = ff.SequenceINN(2, 4, 6)
        inn.append(fm.ActNorm)
        inn.append(fm.IRevNetDownsampling)
        inn.append(fm.AllInOneBlock, subnet_constructor=conv)
        inn.append(fm.Flatten)
        return inn

    def graph() -> Any:
        start = ff.InputNode(6, name="input")
        block = ff.Node(start, fm.GLOWCouplingBlock, {"subnet_constructor": dense})
        split = ff.Node(block, fm.Split, {"section_sizes": [2, 4]})
        more = ff.Node(split.out1, fm.RNVPCouplingBlock, {"subnet_constructor": dense})
        join = ff.Node([split.out0, more.out0], fm.Concat, {})
        return ff.GraphINN([start, block, split, more, join, ff.OutputNode(join)])

    def forked() -> Any:
        start = ff.InputNode(4, 2, 3, name="input")
        block = ff.Node(start, fm.GLOWCouplingBlock, {"subnet_constructor": conv})
        split = ff.Node(block, fm.Split, {"section_sizes": [1, 3]})
        ends = [ff.OutputNode(split.out0), ff.OutputNode(split.out1)]
        return ff.GraphINN([start, block, split, *ends])

    listing.add("SequenceINN", (2, 4, 6), sequence)
    listing.add("GraphINN", (6,), graph)
    listing.add("GraphINN two outputs", (4, 2, 3), forked)
