"""Couplings and autoregressive transforms of nflows under survey."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch.nn import functional as F

from studies.survey.entries import Listing


def couplings(listing: Listing) -> None:
    """Half of the features moved by parameters from the other half."""
    from nflows import transforms as nt
    from nflows.nn.nets import ConvResidualNet, ResidualNet

    mask = [1, 0, 1, -1, 1]

    def net(inputs: int, outputs: int) -> Any:
        return ResidualNet(inputs, outputs, hidden_features=8, num_blocks=1, activation=F.silu)

    def conv(inputs: int, outputs: int) -> Any:
        return ConvResidualNet(inputs, outputs, hidden_channels=6, num_blocks=1, activation=F.silu)

    def spline(cls: Any, **options: Any) -> Callable[[], object]:
        return lambda: cls(mask, net, num_bins=5, apply_unconditional_transform=True, **options)

    listing.add("AffineCouplingTransform", (5,), lambda: nt.AffineCouplingTransform(mask, net))
    listing.add("AdditiveCouplingTransform", (5,), lambda: nt.AdditiveCouplingTransform(mask, net))
    listing.add(
        "AffineCouplingTransform image",
        (4, 3, 2),
        lambda: nt.AffineCouplingTransform([0, 1, 1, 0], conv),
    )
    for kind in ("Linear", "Quadratic", "Cubic", "RationalQuadratic"):
        cls = getattr(nt, f"Piecewise{kind}CouplingTransform")
        listing.add(f"Piecewise{kind}CouplingTransform", (5,), spline(cls))
        listing.add(
            f"Piecewise{kind}CouplingTransform tails",
            (5,),
            spline(cls, tails="linear", tail_bound=1.5),
        )
    listing.add(
        "PiecewiseRationalQuadraticCouplingTransform image",
        (3, 2, 4),
        lambda: nt.PiecewiseRationalQuadraticCouplingTransform(
            [0, 1, 0],
            conv,
            num_bins=4,
            tails="linear",
            tail_bound=1.5,
            apply_unconditional_transform=True,
            img_shape=[2, 4],
        ),
    )


def autoregressive(listing: Listing) -> None:
    """Every feature moved by parameters from those before it."""
    from nflows import transforms as nt

    common: dict[str, Any] = {"features": 4, "hidden_features": 12, "activation": F.silu}
    listing.add(
        "MaskedAffineAutoregressiveTransform",
        (4,),
        lambda: nt.MaskedAffineAutoregressiveTransform(**common, num_blocks=2),
    )
    listing.add(
        "MaskedAffineAutoregressiveTransform random mask",
        (4,),
        lambda: nt.MaskedAffineAutoregressiveTransform(
            **common, num_blocks=1, use_residual_blocks=False, random_mask=True
        ),
    )
    tails: dict[str, Any] = {"tails": "linear", "tail_bound": 1.5}
    for kind in ("Linear", "Quadratic", "Cubic", "RationalQuadratic"):
        options = tails if "Quadratic" in kind else {}
        cls = getattr(nt, f"MaskedPiecewise{kind}AutoregressiveTransform")
        listing.add(
            f"MaskedPiecewise{kind}AutoregressiveTransform",
            (4,),
            partial(cls, num_bins=5, **common, **options),
        )
