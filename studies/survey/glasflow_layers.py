"""Flows and transforms of glasflow under survey."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.nn import functional as F

from studies.survey.entries import Entry, Listing

_BINS = {"num_bins": 5, "tail_bound": 2.0}

#: Masked autoregressive flows by the middle of their names, and their options.
_MASKED: dict[str, dict[str, Any]] = {
    "Affine": {},
    "PiecewiseRationalQuadratic": {"num_bins": 5, "tails": "linear", "tail_bound": 2.0},
}


def entries() -> tuple[Entry, ...]:
    listing = Listing("glasflow")
    _flows(listing)
    _transforms(listing)
    _densities(listing)
    return listing.done()


def _options(features: int) -> dict[str, Any]:
    return {"n_inputs": features, "n_transforms": 2, "n_neurons": 8, "n_blocks_per_transform": 1,
            "activation": F.silu}  # fmt: skip


def _flows(listing: Listing) -> None:
    from glasflow import flows

    listing.add("RealNVP", (4,), lambda: flows.RealNVP(**_options(4)))
    listing.add(
        "RealNVP volume preserving",
        (5,),
        lambda: flows.RealNVP(**_options(5), volume_preserving=True),
    )
    for linear in ("permutation", "lu", "svd"):
        listing.add(
            f"RealNVP {linear}",
            (4,),
            partial(flows.RealNVP, **_options(4), linear_transform=linear),
        )
    listing.add(
        "RealNVP batch norm in evaluation mode",
        (4,),
        lambda: flows.RealNVP(**_options(4), batch_norm_between_transforms=True).eval(),
    )
    listing.add("CouplingNSF", (4,), lambda: flows.CouplingNSF(**_options(4), **_BINS))
    for name, options in _MASKED.items():
        cls = getattr(flows, f"Masked{name}AutoregressiveFlow")
        listing.add(cls.__name__, (4,), partial(cls, **_options(4), **options))
    listing.add(
        "RealNVP with context",
        (4,),
        lambda: flows.RealNVP(**_options(4), n_conditional_inputs=3),
        context=(3,),
    )


def _transforms(listing: Listing) -> None:
    from glasflow.nflows.nn.nets import ResidualNet
    from glasflow.transforms.coupling import AffineCouplingTransform

    def net(inputs: int, outputs: int) -> Any:
        return ResidualNet(inputs, outputs, hidden_features=8, num_blocks=1, activation=F.silu)

    for scale in ("nflows", "wide"):
        listing.add(
            f"AffineCouplingTransform {scale}",
            (5,),
            partial(AffineCouplingTransform, [1, 0, 1, -1, 1], net, scale_activation=scale),
        )


def _densities(listing: Listing) -> None:
    """Whole flows: ``log_prob`` against samples."""
    from glasflow import flows

    for name in ("RealNVP", "CouplingNSF", "MaskedAffineAutoregressiveFlow"):
        cls = getattr(flows, name)
        listing.add(f"density of {name}", (2,), partial(cls, **_options(2)), density=True)
    listing.add(
        "density of CouplingNSF uniform",
        (2,),
        lambda: flows.CouplingNSF(**_options(2), distribution="uniform"),
        density=True,
    )
