"""Faults of orthogonal convolutions: conjugates that are lost, halves of a quotient."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.faults.core import OtherLogdet, fault
from emcheck.layers import OrthogonalConv2d
from emcheck.layers._fourier import from_frequencies, kernel_spectrum, to_frequencies
from emcheck.layers.orthogonal import _apply
from emcheck.solve.frequencies import slogdet_frequencies, solve_frequencies


class _Quotient(OrthogonalConv2d):
    """``z = (I - A) (I + A)^-1 x``, undone by the inverse quotient, unitary or not."""

    def _quotient(self, skew: Tensor, x: Tensor) -> Tensor:
        one = torch.eye(self.channels, dtype=skew.dtype, device=skew.device)[:, :, None]
        solved, _ = solve_frequencies(one + skew, to_frequencies(x))
        return 2 * from_frequencies(solved, x) - x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return self._quotient(self._skew(*x.shape[2:]), x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        return self._quotient(-self._skew(*z.shape[2:]), z), logdet


@fault(
    "forward_matches_definition",
    OrthogonalConv2d,
    "Ports of real Cayley transforms to complex numbers, where a transpose lacks the conjugate.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5)},
    cause="right_only_for_option",
)
class TransposedWithoutConjugate(_Quotient):
    """``A = W^ - W^^T``: invertible with determinant 1 and undone exactly, but not orthogonal."""

    def _skew(self, H: int, W: int) -> Tensor:
        spectrum = kernel_spectrum(self.weight, H, W)
        return spectrum - spectrum.transpose(0, 1)


@fault(
    "inverse_undoes_forward",
    OrthogonalConv2d,
    "The inverse of a real orthogonal matrix is its transpose; at a frequency it is the adjoint.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5)},
    cause="right_only_for_option",
)
class InverseWithoutConjugate(OrthogonalConv2d):
    """The inverse takes the transpose of every frequency, without the conjugate."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        return _apply(self._unitary(*z.shape[2:]).mT, z), logdet


@fault(
    "inverse_undoes_forward",
    OrthogonalConv2d,
    "Single steps of a polish for a matrix that is nearly unitary, at any matrix whatever.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5), "style": "mixed"},
    cause="transpose_as_inverse",
)
class PolishedInsteadOfSolved(OrthogonalConv2d):
    """``Q`` is ``I - 2 A``, the first terms of the quotient, made only nearly unitary."""

    def _unitary(self, H: int, W: int) -> Tensor:
        skew = self._skew(H, W)
        one = torch.eye(self.channels, dtype=skew.dtype, device=skew.device)[:, :, None]
        Q = (one - 2 * skew).permute(2, 0, 1)
        return 1.5 * Q - 0.5 * (Q @ (Q.mH @ Q))


@fault(
    "logdet_matches_jacobian",
    OrthogonalConv2d,
    "A kernel taken for skew: without its adjoint subtracted nothing in the code looks wrong.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5)},
    cause="logdet_zero",
)
class CayleyOfTheKernel(_Quotient):
    """``A = W^``: undone exactly, but not orthogonal, and its log-det is not 0."""

    def _skew(self, H: int, W: int) -> Tensor:
        return kernel_spectrum(self.weight, H, W)


@fault(
    "logdet_matches_definition",
    OrthogonalConv2d,
    "Determinants of quotients whose second factor was added later.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5)},
    cause="volume_is_kept",
)
class LogdetOfTheNumerator(OtherLogdet[OrthogonalConv2d]):
    """The log-det is that of ``I - A`` alone; it is not 0, that of ``I + A`` takes it away."""

    def total(self, H: int, W: int) -> Tensor:
        skew = self.layer._skew(H, W)
        one = torch.eye(self.layer.channels, dtype=skew.dtype, device=skew.device)
        columns = slogdet_frequencies(one[:, :, None] - skew).reshape(H, -1)
        inner = columns[:, 1 : (W + 1) // 2].sum()  # these columns stand for two
        return columns.sum() + inner
