"""Faults of layers with other conventions: a log-det argument, an estimate, a log-density."""

from __future__ import annotations

import math
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from emcheck.contract import InvertibleLayer
from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d, AffineCoupling2d, Conv1x1

L = TypeVar("L", bound=InvertibleLayer)


class Carrying(Faulty[L]):
    """A correct wrapper: it adds the layer's log-det to the one that is passed in."""

    carried: ClassVar[str] = "logdet"

    def forward(self, x: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        z, own = self.layer.forward(x)
        return z, self.add(logdet, own)

    def inverse(self, z: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, own = self.layer.inverse(z)
        return x, self.add(logdet, own)

    def add(self, logdet: Tensor, own: Tensor) -> Tensor:
        return logdet + own


@fault(
    "logdet_argument_is_kept",
    ActNorm2d,
    "Flows that accumulate with `logdet += ...`: a caller who keeps the sum finds it changed.",
    correct=Carrying,
    cause="argument_changed",
)
class AddsInPlace(Carrying[ActNorm2d]):
    """The log-det that is passed in is changed in place."""

    def add(self, logdet: Tensor, own: Tensor) -> Tensor:
        logdet += own
        return logdet


@fault(
    "logdet_argument_is_kept",
    Conv1x1,
    "Layers of a deep flow that begin their log-det anew: that of all layers before is lost.",
    correct=Carrying,
    cause="argument_ignored",
)
class BeginsAnew(Carrying[Conv1x1]):
    """The log-det that is passed in is ignored: only the layer's own is returned."""

    def add(self, logdet: Tensor, own: Tensor) -> Tensor:
        return own


class Estimating(Faulty[L]):
    """A correct wrapper: the log-det is a random estimate, right on average."""

    estimated: ClassVar[bool] = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer.forward(x)
        return z, self.estimate(logdet)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x, self.estimate(logdet)

    def estimate(self, logdet: Tensor) -> Tensor:
        return logdet + 0.5 * torch.randn_like(logdet)


@fault(
    "logdet_is_unbiased",
    Conv1x1,
    "Trace estimates with uniform probes in place of signs or normal numbers: E v v^T is I / 3.",
    correct=Estimating,
    cause="estimate_biased",
)
class ProbesWithoutUnitVariance(Estimating[Conv1x1]):
    """The probe vectors have variance 1/3, so the log-det is a third of the true one on average."""

    def estimate(self, logdet: Tensor) -> Tensor:
        probe = 2 * torch.rand_like(logdet) - 1
        return logdet * probe.square()


@fault(
    "inverse_logdet_is_unbiased",
    ActNorm2d,
    "Inverses that hand on the estimate of forward without its sign.",
    correct=Estimating,
    cause="estimate_biased",
)
class EstimateKeepsItsSign(Estimating[ActNorm2d]):
    """The inverse returns the estimate of forward without changing its sign."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x, self.estimate(-logdet)


@fault(
    "gradient_of_estimate_is_unbiased",
    Conv1x1,
    "Estimators under no_grad, or a term that is detached: the flow trains without its log-det.",
    correct=Estimating,
    cause="estimate_gradient",
)
class EstimateWithoutGradient(Estimating[Conv1x1]):
    """The estimate is detached: no gradient flows through the log-det."""

    def estimate(self, logdet: Tensor) -> Tensor:
        return super().estimate(logdet.detach())


#: The event shape of a flow that draws samples.
_EVENT = (2, 2, 2)


class WithLogProb(Faulty[L]):
    """A correct whole flow with a standard normal base."""

    def log_prob(self, x: Tensor) -> Tensor:
        z, logdet = self.layer.forward(x)
        return self.density(z) + logdet

    def sample(self, n: int) -> Tensor:
        return self.layer.inverse(self.base(n))[0]

    def base(self, n: int) -> Tensor:
        like = next(self.layer.parameters())
        return torch.randn((n, *_EVENT)).to(like)

    def density(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)


@fault(
    "log_prob_matches_flow",
    AffineCoupling2d,
    "Flows whose forward was once the direction of sampling: the log-det has the other sign.",
    correct=WithLogProb,
    cause="log_prob_wrong",
)
class LogdetSubtracted(WithLogProb[AffineCoupling2d]):
    """``log_prob`` subtracts the log-det of forward instead of adding it."""

    def log_prob(self, x: Tensor) -> Tensor:
        z, logdet = self.layer.forward(x)
        return self.density(z) - logdet


@fault(
    "samples_map_to_the_base",
    AffineCoupling2d,
    "Samples for pictures at a temperature below one, by a constant that stayed.",
    correct=WithLogProb,
    case={"event": _EVENT},
    cause="samples_not_of_the_base",
)
class SamplesAtTemperature(WithLogProb[AffineCoupling2d]):
    """Samples are drawn at temperature 0.8."""

    def base(self, n: int) -> Tensor:
        return 0.8 * super().base(n)
