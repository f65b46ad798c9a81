"""Faults of low-rank updates of the identity: the identities of Sylvester and of Woodbury."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from emcheck.faults.core import OtherLogdet, fault
from emcheck.layers import Woodbury2d
from emcheck.layers._tools import solve
from emcheck.layers.woodbury import LowRank, updated


@fault(
    "logdet_matches_jacobian",
    Woodbury2d,
    "Two determinants of which each is raised to the size of its own axis, not to that of the "
    "other; with as many channels as pixels both are right.",
    options={"spatial": "joint"},
    case={"event": (3, 4, 5)},
    cause="submodule_factors_exchanged",
)
class CountsExchanged(OtherLogdet[Woodbury2d]):
    """The log-det has C times the channels' term and H W times that of space."""

    def total(self, H: int, W: int) -> Tensor:
        channel, space = (
            torch.linalg.slogdet(factor.small()).logabsdet for factor in self.layer.ordered()
        )
        return self.layer.channels * channel + H * W * space


@fault(
    "inverse_logdet_matches_jacobian",
    Woodbury2d,
    "The factor of a 1x1 convolution, the number of pixels, written in front of both determinants.",
    options={"spatial": "joint"},
    case={"event": (3, 4, 5)},
    cause="submodule_factor_wrong",
)
class SpaceCountedByPixels(OtherLogdet[Woodbury2d]):
    """The log-det has H W times the term of space, not C times."""

    def total(self, H: int, W: int) -> Tensor:
        logdets = [
            torch.linalg.slogdet(factor.small()).logabsdet for factor in self.layer.ordered()
        ]
        return H * W * torch.stack(logdets).sum()


@fault(
    "logdet_matches_definition",
    Woodbury2d,
    "A 1x1 convolution of low rank, to which mixing over space was added later.",
    options={"spatial": "joint"},
    cause="submodule_logdet_missing",
)
class SpaceNotCounted(OtherLogdet[Woodbury2d]):
    """The log-det is that of the channels' factor alone."""

    def log_det(self, x: Tensor) -> Tensor:
        return self.layer.ordered()[0].log_det(x)


class _OtherInverse(LowRank):
    """A factor with the parameters of a right one and another inverse."""

    def __init__(self, right: LowRank) -> None:
        size, rank = right.u.shape
        super().__init__(right.axis, size, rank, None)
        self.u, self.v = right.u, right.v


class _WrongInSpace(Woodbury2d):
    """A layer whose factors over space are of a wrong kind."""

    kind: ClassVar[type[_OtherInverse]]

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        for factor in self.ordered()[1:]:
            self.factors[factor.axis] = self.kind(factor)


class _Subtracted(_OtherInverse):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        small = 2 * torch.eye(len(self.v)).to(self.v) - self.small()
        return updated(z, self.axis, -self.u, solve(small, self.v)), -self.log_det(z)


class _Transposed(_OtherInverse):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return updated(z, self.axis, -self.u, solve(self.small().mT, self.v)), -self.log_det(z)


@fault(
    "inverse_undoes_forward",
    Woodbury2d,
    "A sign in the identity of Woodbury, taken from a page that writes it for I - U V; nothing "
    "shows at the start, where U = 0.",
    cause="submodule_not_undone",
)
class SmallSystemSubtracted(_WrongInSpace):
    """Over space the inverse solves with ``I - V U`` instead of ``I + V U``."""

    kind = _Subtracted


@fault(
    "inverse_backward_error",
    Woodbury2d,
    "Space from the right, as row vectors, and a system still for columns; with rank 1 it is the "
    "same.",
    options={"spatial_rank": 2},
    case={"event": (3, 4, 5)},
    cause="submodule_not_undone",
)
class SmallSystemTransposed(_WrongInSpace):
    """Over space the inverse solves with ``(I + V U)^T``."""

    kind = _Transposed
