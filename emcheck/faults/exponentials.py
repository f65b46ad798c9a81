"""Faults of convolution exponentials: their series, its steps and its log-det."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from emcheck.faults.core import OtherLogdet, fault
from emcheck.layers import ExponentialConv2d
from emcheck.layers.exponential import enough_terms, norm_bound


class _OneSeries(ExponentialConv2d):
    """An exponential by one series of powers, without steps."""

    def convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2))

    def terms_for(self, norm: float) -> int:
        return enough_terms(norm, 2.0**-53)

    def share(self, i: int) -> float:
        """Return the coefficient of ``M^i`` over that of ``M^(i-1)``."""
        return 1 / i

    def _exponential(self, weight: Tensor, x: Tensor) -> Tensor:
        term = x
        for i in range(1, self.terms_for(norm_bound(weight)) + 1):
            term = self.convolved(term, weight) * self.share(i)
            x = x + term
        return x


@fault(
    "logdet_matches_jacobian",
    ExponentialConv2d,
    "Traces taken over the flattened kernel, whose first two axes are both channels.",
    options={"kernel_size": 3},
    cause="right_only_for_option",
)
class TraceOfEveryTap(OtherLogdet[ExponentialConv2d]):
    """The log-det sums the diagonal of every tap, not that of the centre alone."""

    def total(self, H: int, W: int) -> Tensor:
        return H * W * self.layer.weight.diagonal().sum()


@fault(
    "inverse_undoes_forward",
    ExponentialConv2d,
    "The sign of the inverse given to each term, where the odd powers alone may change.",
    cause="iteration_stopped_early",
)
class EveryTermNegated(ExponentialConv2d):
    """The inverse is ``2 x - exp(M) x``: all terms but the first are subtracted."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        image, logdet = self.forward(z)
        return 2 * z - image, -logdet


@fault(
    "inverse_undoes_forward",
    ExponentialConv2d,
    "Code for orthogonal maps, generators of which are skew: the adjoint is the inverse there.",
    cause="transpose_as_inverse",
)
class TransposedIsNoInverse(ExponentialConv2d):
    """The inverse is ``exp(M^T) z``, as it would be for a skew-symmetric ``M``."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        weight = self._within(*z.shape[2:]).transpose(0, 1).flip(2, 3)
        return self._exponential(weight, z), logdet


@fault(
    "forward_matches_definition",
    ExponentialConv2d,
    "Deep-learning frameworks pad around in one argument; trace, inverse and gradients fit.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5)},
    cause="right_only_for_option",
)
class SeriesWrapsAround(_OneSeries):
    """The convolution of the series pads around; the trace is the same on images this large."""

    def convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        r = self.kernel_size // 2
        return F.conv2d(F.pad(x, (r, r, r, r), mode="circular"), weight)


@fault(
    "inverse_undoes_forward",
    ExponentialConv2d,
    "A number of terms that was enough for the weights of the start, kept while they grow.",
    cause="inverse_approximate",
)
class SixTerms(_OneSeries):
    """The series ends after six terms whatever the norm, and says nothing of it."""

    def terms_for(self, norm: float) -> int:
        return 6


@fault(
    "forward_matches_definition",
    ExponentialConv2d,
    "Series that end when a term no longer changes the sum, which looks exact.",
    options={"kernel_size": 1},
    case={"style": "ill"},
)
class SeriesInOneStep(_OneSeries):
    """All terms that matter, but in one series: terms of a large norm cancel their digits."""


@fault(
    "forward_matches_definition",
    ExponentialConv2d,
    "Loops that divide the new power by its number, not the last term: right up to two terms.",
    cause="inverse_approximate",
)
class FactorialsForgotten(_OneSeries):
    """The series is ``sum_i M^i x / i``: the divisors do not accumulate, in both directions."""

    def share(self, i: int) -> float:
        return max(i - 1, 1) / i
