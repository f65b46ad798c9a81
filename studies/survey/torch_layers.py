"""Transforms of ``torch.distributions`` under survey."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributions as td
from torch import nn
from torch.distributions import transforms as tt

from studies.survey.entries import Entry, Listing

_DIMENSIONS = "domain and image have different dimensions"
_NO_BIJECTION = "not declared a bijection; no log-det"


def entries() -> tuple[Entry, ...]:
    listing = Listing("torch.distributions")
    _affine(listing)
    _elementwise(listing)
    _composed(listing)
    _joined(listing)
    _constraints(listing)
    return listing.done()


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(shape) + 0.5)


def _reshape(before: tuple[int, ...], after: tuple[int, ...]) -> tt.ReshapeTransform:
    return tt.ReshapeTransform(torch.Size(before), torch.Size(after))


def _affine(listing: Listing) -> None:
    affine = tt.AffineTransform
    listing.add("AffineTransform numbers", (2, 3), lambda: affine(0.5, -2.0))
    listing.add(
        "AffineTransform numbers event_dim 2", (2, 3), lambda: affine(0.5, -2.0, event_dim=2)
    )
    listing.add("AffineTransform", (4,), lambda: affine(_parameter(4), _parameter(4)))
    listing.add(
        "AffineTransform event_dim 1",
        (4,),
        lambda: affine(_parameter(4), _parameter(4), event_dim=1),
    )
    listing.add(
        "AffineTransform event_dim 1, one scale for all",
        (4,),
        lambda: affine(_parameter(4), _parameter(1), event_dim=1),
    )
    listing.add(
        "AffineTransform event_dim 1, 0-d scale",
        (4,),
        lambda: affine(0.0, torch.tensor(2.0), event_dim=1),
    )
    listing.add(
        "AffineTransform event_dim 3, scale per channel",
        (2, 3, 2),
        lambda: affine(0.0, _parameter(2, 1, 1), event_dim=3),
    )
    listing.add("AffineTransform inverse", (4,), lambda: affine(_parameter(4), _parameter(4)).inv)


def _elementwise(listing: Listing) -> None:
    listing.add("ExpTransform", (2, 3), lambda: tt.ExpTransform())
    listing.add("PowerTransform", (4,), lambda: tt.PowerTransform(torch.tensor(2.5)))
    listing.add(
        "PowerTransform negative",
        (3,),
        lambda: tt.PowerTransform(nn.Parameter(-0.5 - torch.rand(3))),
    )
    listing.add("SigmoidTransform", (2, 3), lambda: tt.SigmoidTransform())
    listing.add("SigmoidTransform inverse", (4,), lambda: tt.SigmoidTransform().inv)
    listing.add("SoftplusTransform", (4,), lambda: tt.SoftplusTransform())
    listing.add("TanhTransform", (2, 2, 3), lambda: tt.TanhTransform())
    listing.add("TanhTransform inverse", (4,), lambda: tt.TanhTransform().inv)
    listing.add(
        "SigmoidTransform cached",
        (4,),
        lambda: tt.SigmoidTransform(cache_size=1),
        "cache_size=1 returns the last input instead of inverting",
    )
    listing.add(
        "CumulativeDistributionTransform Normal",
        (4,),
        lambda: tt.CumulativeDistributionTransform(td.Normal(torch.zeros(4), torch.rand(4) + 0.5)),
    )
    listing.add(
        "CumulativeDistributionTransform Weibull",
        (3,),
        lambda: tt.CumulativeDistributionTransform(
            td.Weibull(torch.tensor(1.5), torch.tensor(2.0))
        ),
    )
    listing.add(
        "CumulativeDistributionTransform Gamma",
        (3,),
        lambda: tt.CumulativeDistributionTransform(td.Gamma(torch.tensor(1.5), torch.tensor(2.0))),
        "the distribution has no inverse of its cumulative function",
    )


def _composed(listing: Listing) -> None:
    listing.add(
        "ComposeTransform",
        (4,),
        lambda: tt.ComposeTransform(
            [
                tt.AffineTransform(_parameter(4), _parameter(4)),
                tt.TanhTransform(),
                tt.ExpTransform(),
            ]
        ),
    )
    listing.add(
        "ComposeTransform of mixed event_dim",
        (2, 3),
        lambda: tt.ComposeTransform(
            [
                tt.IndependentTransform(tt.SigmoidTransform(), 1),
                tt.AffineTransform(0.0, _parameter(2, 3)),
                tt.AffineTransform(_parameter(3), _parameter(3), event_dim=1),
            ]
        ),
    )
    listing.add(
        "ComposeTransform inverse",
        (3,),
        lambda: (
            tt.ComposeTransform([tt.AffineTransform(0.3, _parameter(3)), tt.TanhTransform()]).inv
        ),
    )
    listing.add(
        "IndependentTransform",
        (2, 3, 2),
        lambda: tt.IndependentTransform(tt.SoftplusTransform(), 2),
    )
    listing.add("ReshapeTransform", (2, 6), lambda: _reshape((2, 6), (3, 4)))
    listing.add(
        "ComposeTransform reshape and tanh",
        (2, 6),
        lambda: tt.ComposeTransform([_reshape((2, 6), (3, 2, 2)), tt.TanhTransform()]),
    )


def _joined(listing: Listing) -> None:
    def vectors() -> Any:
        return tt.IndependentTransform(tt.TanhTransform(), 1)

    listing.add(
        "CatTransform",
        (5,),
        lambda: tt.CatTransform(
            [tt.ExpTransform(), tt.AffineTransform(0.2, -3.0)], dim=1, lengths=[2, 3]
        ),
    )
    listing.add(
        "CatTransform last of two",
        (2, 4),
        lambda: tt.CatTransform([tt.TanhTransform(), tt.ExpTransform()], dim=-1, lengths=[1, 3]),
    )
    listing.add(
        "CatTransform of vectors along the event",
        (5,),
        lambda: tt.CatTransform([vectors(), vectors()], dim=-1, lengths=[2, 3]),
    )
    listing.add(
        "CatTransform of mixed event_dim",
        (5, 2),
        lambda: tt.CatTransform([vectors(), tt.ExpTransform()], dim=1, lengths=[2, 3]),
    )
    listing.add(
        "StackTransform",
        (3, 2),
        lambda: tt.StackTransform(
            [tt.ExpTransform(), tt.TanhTransform(), tt.AffineTransform(1.0, 0.5)], dim=1
        ),
    )
    listing.add(
        "StackTransform last",
        (4, 2),
        lambda: tt.StackTransform([tt.SigmoidTransform(), tt.ExpTransform()], dim=-1),
    )
    listing.add(
        "StackTransform of vectors",
        (2, 3),
        lambda: tt.StackTransform([vectors(), vectors()], dim=1),
    )
    listing.add(
        "StackTransform of vectors, dim -2",
        (2, 3),
        lambda: tt.StackTransform([vectors(), vectors()], dim=-2),
    )


def _constraints(listing: Listing) -> None:
    listing.add("StickBreakingTransform", (4,), lambda: tt.StickBreakingTransform(), _DIMENSIONS)
    listing.add(
        "StickBreakingTransform inverse", (5,), lambda: tt.StickBreakingTransform().inv, _DIMENSIONS
    )
    listing.add("CorrCholeskyTransform", (6,), lambda: tt.CorrCholeskyTransform(), _DIMENSIONS)
    listing.add(
        "LowerCholeskyTransform", (3, 3), lambda: tt.LowerCholeskyTransform(), _NO_BIJECTION
    )
