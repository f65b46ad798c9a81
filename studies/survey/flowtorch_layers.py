"""Bijectors of FlowTorch under survey."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from emcheck.adapters import adapt
from studies.survey.entries import Entry, Listing


def entries() -> tuple[Entry, ...]:
    from flowtorch import bijectors as fb
    from flowtorch.parameters import DenseAutoregressive
    from flowtorch.parameters import Tensor as Own

    listing = Listing("flowtorch")
    small = DenseAutoregressive(hidden_dims=(8,))

    def add(name: str, event: tuple[int, ...], make: Any) -> None:
        listing.add(name, event, lambda: _adapted(make(shape=torch.Size(event)), event))

    for name in ("ELU", "Exp", "LeakyReLU", "Sigmoid", "Softplus", "Tanh"):
        add(name, (4,), getattr(fb, name))
    add("Exp and Power", (4,), lambda shape: fb.Compose([fb.Exp(), fb.Power()], shape=shape))
    add("AffineFixed", (2, 3), lambda shape: fb.AffineFixed(loc=0.5, scale=2.0, shape=shape))
    add("Permute", (5,), fb.Permute)
    add("Affine", (4,), lambda shape: fb.Affine(Own(), shape=shape))
    add("Affine on matrices", (2, 3), lambda shape: fb.Affine(Own(), shape=shape))
    add("Spline", (4,), lambda shape: fb.Spline(Own(), shape=shape))
    add("Spline quadratic", (4,), lambda shape: fb.Spline(Own(), order="quadratic", shape=shape))
    add("AffineAutoregressive", (4,), fb.AffineAutoregressive)
    add(
        "AffineAutoregressive small",
        (3,),
        lambda shape: fb.AffineAutoregressive(small, shape=shape),
    )
    add("SplineAutoregressive", (3,), fb.SplineAutoregressive)
    add("Invert of Affine", (4,), lambda shape: fb.Invert(fb.Affine(Own()), shape=shape))
    add(
        "Compose",
        (4,),
        lambda shape: fb.Compose(
            bijectors=[
                fb.AffineAutoregressive(small),
                fb.Permute(permutation=torch.tensor([2, 0, 3, 1])),
                fb.AffineAutoregressive(small),
            ],
            shape=shape,
        ),
    )
    _densities(listing)
    return listing.done()


def _adapted(bijector: Any, event: tuple[int, ...]) -> Any:
    """By its three methods; a log-det for each entry is summed, as the library's flows do."""
    rest = len(event) - bijector.domain.event_dim

    def summed(logdet: Tensor) -> Tensor:
        return logdet.flatten(len(logdet.shape) - rest).sum(-1) if rest > 0 else logdet

    def forward(layer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        z = layer.forward(x.clone())
        return z, summed(layer.log_abs_det_jacobian(x, z))

    def inverse(layer: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        x = layer.inverse(z.clone())
        return x, -summed(layer.log_abs_det_jacobian(x, z))

    return adapt(bijector, forward=forward, inverse=inverse)


def _densities(listing: Listing) -> None:
    """Whole flows: ``log_prob`` against samples."""
    from flowtorch import bijectors as fb
    from flowtorch.distributions import Flow
    from torch import distributions as td

    def add(name: str, bijector: Any) -> None:
        def make() -> Any:
            base = td.Independent(td.Normal(torch.zeros(2), torch.ones(2)), 1)
            return Flow(base, bijector())

        listing.add(f"density of {name}", (2,), make, density=True)

    add("AffineAutoregressive", lambda: fb.AffineAutoregressive())
    add("SplineAutoregressive", lambda: fb.SplineAutoregressive())
