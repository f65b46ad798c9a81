"""Faults of composed log-dets: chains, inverses, densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from emcheck.faults.core import Faulty, fault
from emcheck.flows import Chain, Inverse
from emcheck.layers import ActNorm2d


@fault(
    "chain_adds_up",
    Chain,
    "A two-factor layer whose author subtracted the second factor's log-det twice when coming "
    "back; with an orthogonal initial factor both mistakes are 0.",
    options={"step": "emerging"},
    cause="submodule_logdet_missing",
)
class FactorOmitted(Faulty[Chain]):
    """Forward omits the mixing layer's log-det; the inverse subtracts it twice."""

    def _mixing(self, y: Tensor) -> Tensor:
        """Return the second layer's log-det at its own input."""
        first, second, *_ = self.layer.layers
        logdet: Tensor = second(first(y)[0])[1]
        return logdet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet - self._mixing(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x, logdet - self._mixing(x)


@fault(
    "inverse_logdet_matches_jacobian",
    Chain,
    "`return x, -self.log_det(z)`, copied from a linear layer, where the point does not matter.",
    options={"step": "glow"},
    cause="logdet_at_latent",
)
class LogdetAtTheLatent(Faulty[Chain]):
    """``inverse`` evaluates the log-det at z instead of at x."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = self.layer.inverse(z)
        return x, -self.layer.log_det(z)


@fault(
    "log_det_alone_agrees",
    Inverse,
    "Adapters that forward every method they do not know to the layer they turn around.",
    cause="log_det_of_other_direction",
)
class LogDetNotTurned(Faulty[Inverse]):
    """``log_det`` of an inverted layer is that of the inner layer's forward."""

    def log_det(self, x: Tensor) -> Tensor:
        inner = self.layer.layer
        logdet: Tensor = inner.log_det(x)  # type: ignore[operator]
        return logdet


@fault(
    "logdet_is_constant_in_x",
    ActNorm2d,
    "Flows that pass one accumulator through all layers: split layers add the log-density of "
    "what leaves to it, and so did this one.",
    cause="density_in_logdet",
)
class DensityInTheLogdet(Faulty[ActNorm2d]):
    """The log-det includes the Gaussian log-density of the latent."""

    def _density(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet + self._density(z)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x, logdet - self._density(z)

    def log_det(self, x: Tensor) -> Tensor:
        return self.forward(x)[1]


@fault(
    "gradient_of_logdet",
    Chain,
    "Log-dets gathered for logging under no_grad that ended up in the loss.",
    cause="logdet_detached",
)
class DetachedLogdet(Faulty[Chain]):
    """The log-det has the right value and no gradient."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet.detach()


@fault(
    "gradient_of_inverse_logdet",
    Chain,
    "Memory-saving flows that recompute the log-det from the reconstructed, detached input.",
    options={"step": "glow"},
    cause="input_detached",
)
class LogdetOfDetachedInput(Faulty[Chain]):
    """``inverse`` evaluates the log-det at a detached x: the gradient for z is missing."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = self.layer.inverse(z)
        return x, -self.layer.log_det(x.detach())


@fault(
    "calls_are_deterministic",
    ActNorm2d,
    "Log-dets by a stochastic trace estimator, as in residual flows, left on for evaluation.",
    cause="randomness_inside",
)
class EstimatedLogdet(Faulty[ActNorm2d]):
    """The log-det is an unbiased estimate with new noise in every call."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet + 2.0**-10 * torch.randn_like(logdet)
