"""Flow layers of normflowpy under survey."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from emcheck.adapters import adapt
from studies.survey.entries import Entry, Listing

_BISECTION = "the inverse of the mixture is found by bisection"


class _Net(nn.Module):
    """A network in the form that couplings ask for: ``net_class(x_shape, n_out, n_hidden)``."""

    def __init__(self, x_shape: Any, n_out: int, n_hidden: int) -> None:
        super().__init__()
        inputs = x_shape if isinstance(x_shape, int) else x_shape[0] // 2
        self.net = nn.Sequential(nn.Linear(inputs, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found


def entries() -> tuple[Entry, ...]:
    listing = Listing("normflowpy")
    _linear(listing)
    _networks(listing)
    _whole(listing)
    return listing.done()


def _linear(listing: Listing) -> None:
    from normflowpy import flows
    from normflowpy.flows.flow_modules.batch_normalization import BatchNorm

    listing.add("AffineConstantFlow", (4,), lambda: flows.AffineConstantFlow((4,)))
    listing.add("AffineConstantFlow image", (2, 3, 4), lambda: flows.AffineConstantFlow((2, 3, 4)))
    listing.add(
        "AffineConstantFlow shift alone", (4,), lambda: flows.AffineConstantFlow((4,), scale=False)
    )
    listing.add(
        "AffineConstantFlow scale alone", (4,), lambda: flows.AffineConstantFlow((4,), shift=False)
    )
    listing.add("UserDefinedAffineFlow", (4,), lambda: flows.UserDefinedAffineFlow(1.5, 0.5))
    listing.add("ActNorm", (4,), lambda: flows.ActNorm((4,)))
    listing.add(
        "InputNorm", (4,), lambda: flows.InputNorm(torch.randn(1, 4), torch.rand(1, 4) + 0.5)
    )
    listing.add("BatchNorm evaluation mode", (4,), lambda: BatchNorm(4).eval())
    listing.add("InvertibleFullyConnected", (4,), lambda: flows.InvertibleFullyConnected(4))
    listing.add(
        "InvertibleFullyConnected transposed",
        (3,),
        lambda: flows.InvertibleFullyConnected(3, transpose=True),
    )
    listing.add("InvertibleConv2d1x1", (3, 2, 4), lambda: flows.InvertibleConv2d1x1(3))
    listing.add("Squeeze", (2, 4, 6), lambda: flows.Squeeze(2))
    listing.add("Tensor2Vector", (2, 3, 2), lambda: flows.Tensor2Vector((2, 3, 2)))


def _networks(listing: Listing) -> None:
    from normflowpy import flows

    def coupling(**options: Any) -> Any:
        return lambda: flows.AffineCoupling((4,), True, net_class=_Net, nh=8, **options)

    listing.add("AffineCoupling", (4,), coupling())
    listing.add("AffineCoupling of neighbours", (4,), coupling(neighbor_splitting=True))
    listing.add("AffineCoupling shift alone", (4,), coupling(scale=False))
    listing.add("AffineCoupling scale alone", (4,), coupling(shift=False))
    listing.add(
        "ConditionalAffineCoupling",
        (4,),
        lambda: flows.ConditionalAffineCoupling((4,), False, 3, net_class=_Net, nh=8),
        context=(3,),
    )
    listing.add(
        "MixLogCoupling",
        (4,),
        lambda: adapt(
            flows.MixLogCoupling((4,), net_class=_Net, n_hidden=8, k_clusters=2),
            forward=lambda layer, x: layer.forward(x),
        ),
        _BISECTION,
    )
    listing.add("MAF", (4,), lambda: flows.MAF(4, False, nh=8))
    listing.add("MAF reversed", (4,), lambda: flows.MAF(4, True, nh=8))
    listing.add("NSF_CL", (4,), lambda: flows.NSF_CL(4, K=5, base_network=_Net))
    listing.add("NSF_AR", (3,), lambda: flows.NSF_AR(3, K=5, base_network=_Net))


def _whole(listing: Listing) -> None:
    """Compositions, and whole flows: ``log_prob`` is ``-nll``."""
    from normflowpy import flows
    from normflowpy.nf_model import NormalizingFlow, NormalizingFlowModel

    def parts(features: int) -> list[Any]:
        return [
            flows.AffineCoupling((features,), False, net_class=_Net, nh=8),
            flows.InvertibleFullyConnected(features),
            flows.AffineConstantFlow((features,)),
        ]

    listing.add(
        "NormalizingFlow",
        (4,),
        lambda: adapt(
            NormalizingFlow(parts(4)),
            forward=lambda flow, x: _last(flow.forward(x)),
            inverse=lambda flow, z: _last(flow.backward(z)),
        ),
    )

    def density() -> Any:
        normal = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
        return _Density(NormalizingFlowModel(torch.distributions.Independent(normal, 1), parts(2)))

    listing.add("density of NormalizingFlowModel", (2,), density, density=True)


def _last(answer: tuple[list[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The last of the values that a composition returns, and its log-det."""
    return answer[0][-1], answer[1]


class _Density(nn.Module):
    """A model by its own ``nll`` and ``sample``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def log_prob(self, x: Tensor) -> Tensor:
        found: Tensor = -self.model.nll(x)
        return found

    def sample(self, n: int) -> Tensor:
        found: Tensor = self.model.sample(n)
        return found
