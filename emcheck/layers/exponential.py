"""The convolution exponential: the matrix exponential of a convolution, by its series."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import (
    InvertibleLayer,
    validate_images,
    validate_kernel_size,
    validate_positive,
)
from emcheck.layers._tools import per_sample

#: The largest norm of a convolution whose exponential is taken: each unit of it costs a dozen
#: convolutions or two, and ``exp(1024)`` is beyond the range of float64.
LARGEST = 1024


class ExponentialConv2d(InvertibleLayer):
    """``z = exp(M) x = sum_i M^i x / i!`` for the zero-padded ``k x k`` convolution ``M``.

    ``(M x)[o,i,j] = sum_{c,a,b} w[o,c,a,b] x[c, i+a-r, j+b-r]``, ``r = (k-1)/2``, all taps live.
    The exponential is invertible whatever ``w`` is: ``x = exp(-M) z``.

    With ``terms=None`` the series is summed to the last digit. The norm ``N`` of ``M``, the
    smaller of the bounds by absolute sums over inputs and over outputs, is split into
    ``p = ceil(N)`` steps, ``exp(M) = exp(M/p)^p``: a step loses no digits by cancellation, and
    what its series leaves out is below the unit roundoff. With an integer the series ends at
    ``M^terms``, as published: then the map is a polynomial of ``M``, whose log-det and inverse the
    layer gives only as accurately as the remainder allows, and it says so in ``lacks``.

    Log-det: ``trace(M) = H W sum_c w[c,c,r,r]``.

    Cost: forward and inverse ``p m B H W C^2 k^2`` with ``m`` terms in a step, at most 12 in
    float32 and 19 in float64; log-det ``C``.

    Reference: Hoogeboom, Garcia Satorras, Tomczak, Welling, The Convolution Exponential and
    Generalized Sylvester Flows, 2020, arXiv 2006.01910; steps: Al-Mohy, Higham, Computing the
    Action of the Matrix Exponential, SIAM J. Sci. Comput. 2011.

    Args:
        channels: ``C``, at least 1.
        kernel_size: odd ``k``.
        terms: the last power of ``M``, at least 1; None: as many as matter.
        generator: random numbers of the initial value (normal, over ``C k^2``); torch's
            default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            kernel; with ``terms=None`` a norm above 1024 or not finite in ``forward`` and
            ``inverse``.

    >>> import torch
    >>> layer = ExponentialConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        terms: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.kernel_size = k = validate_kernel_size(kernel_size)
        self.terms = terms if terms is None else validate_positive("terms", terms)
        weight = torch.randn(channels, channels, k, k, generator=generator)
        self.weight = nn.Parameter(weight / (channels * k * k))  # (C, C, k, k)

    @property
    def lacks(self) -> tuple[str, ...]:
        """The capabilities that a series of a fixed length does not have."""
        return () if self.terms is None else ("exact_inverse", "exact_logdet")

    def _within(self, H: int, W: int) -> Tensor:
        """Return the taps that reach from one pixel of the image to another."""
        r = self.kernel_size // 2
        (top, left) = (r - min(r, size - 1) for size in (H, W))
        stop = self.kernel_size
        return self.weight[:, :, top : stop - top, left : stop - left]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return self._exponential(self._within(*x.shape[2:]), x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        return self._exponential(-self._within(*z.shape[2:]), z), logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        centre = self.weight[:, :, self.kernel_size // 2, self.kernel_size // 2]
        return per_sample(x.shape[2] * x.shape[3] * centre.diagonal().sum(), x)

    def _exponential(self, weight: Tensor, x: Tensor) -> Tensor:
        """Return ``exp(M) x``, or its series up to ``terms``, for the convolution by ``weight``."""
        if self.terms is not None:
            return _series(weight, x, self.terms)
        norm = norm_bound(weight)
        if not norm <= LARGEST:
            raise ValueError(f"expected a weight of norm up to {LARGEST}, got {norm:.6g}")
        steps = max(math.ceil(norm), 1)
        step = weight / steps
        for _ in range(steps):
            x = _series(step, x, enough_terms(norm / steps, torch.finfo(x.dtype).eps / 2))
        return x


def norm_bound(weight: Tensor) -> float:
    """Bound the norm of a zero-padded convolution: the smaller of those induced by 1 and infinity.

    Row sums of its matrix are at most the sums over inputs and taps, column sums over outputs.
    """
    size = weight.detach().abs()
    return float(torch.minimum(size.sum((1, 2, 3)).max(), size.sum((0, 2, 3)).max()))


def enough_terms(norm: float, u: float) -> int:
    """Return the least ``m`` from 1 with ``N^m / m! exp(2 N) <= u``.

    What the series up to ``m`` leaves out is at most ``N^(m+1) / (m+1)! exp(N)``, and the result
    at least ``exp(-N)``. With one term more than that needs, the derivatives by the weights, whose
    series is one power behind, are exact too.
    """
    left, m = math.exp(2 * norm) * norm, 1
    while left > u:
        m += 1
        left *= norm / m
    return m


def _series(weight: Tensor, x: Tensor, terms: int) -> Tensor:
    """Return ``sum_{i <= terms} M^i x / i!``."""
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    term = x
    for i in range(1, terms + 1):
        term = F.conv2d(term, weight, padding=padding) / i
        x = x + term
    return x
