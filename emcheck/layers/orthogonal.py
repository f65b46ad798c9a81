"""The orthogonal convolution: a Cayley transform at every frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from emcheck.contract import (
    InvertibleLayer,
    validate_images,
    validate_kernel_size,
    validate_positive,
)
from emcheck.layers._fourier import from_frequencies, kernel_spectrum, to_frequencies
from emcheck.solve.frequencies import solve_frequencies


class OrthogonalConv2d(InvertibleLayer):
    """``z^_uv = (I - A_uv) (I + A_uv)^-1 x^_uv``, ``A_uv = W^_uv - W^_uv^*``, circular padding.

    ``W^_uv`` is the spectrum of the kernel as in :class:`PeriodicConv2d`. ``A_uv`` is
    skew-Hermitian, so its Cayley transform ``Q_uv`` is unitary: the layer is a real orthogonal
    map, a convolution whose kernel covers the whole feature map. ``|z| = |x|`` for every ``x``.

    Log-det: 0.

    Cost: forward and inverse ``B C H W log HW`` for the transforms, and at each of about
    ``H W / 2`` frequencies ``10 C^3 / 3 + B C^2`` complex operations; log-det nothing.

    Reference: Trockman, Kolter, Orthogonalizing Convolutional Layers with the Cayley Transform,
    2021, arXiv 2104.07167.

    Args:
        channels: ``C``, at least 1.
        kernel_size: odd ``k`` of the kernel ``W``.
        generator: random numbers of the initial value (``N / (k sqrt(C))`` everywhere); torch's
            default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            kernel. No finite weight is singular: all singular values of ``I + A_uv`` are at
            least 1.

    >>> import torch
    >>> layer = OrthogonalConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer(x)[0].norm() - x.norm()).abs() < 1e-5)
    True
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.kernel_size = k = validate_kernel_size(kernel_size)
        weight = torch.randn(channels, channels, k, k, generator=generator)
        self.weight = nn.Parameter(weight / (k * math.sqrt(channels)))  # (C, C, k, k)

    def _skew(self, H: int, W: int) -> Tensor:
        """Return ``A_uv = W^_uv - W^_uv^*`` on the half spectrum, ``(C, C, H (W // 2 + 1))``."""
        spectrum = kernel_spectrum(self.weight, H, W)
        return spectrum - spectrum.transpose(0, 1).conj()

    def _unitary(self, H: int, W: int) -> Tensor:
        """Return ``Q_uv = (I - A) (I + A)^-1 = 2 (I + A)^-1 - I``, ``(F, C, C)``.

        An LU of ``I + A`` errs by ``u |A|``, and what it gives is unitary only that far. One step
        of Newton and Schulz, ``Q <- (3 Q - Q Q^* Q) / 2``, squares the defect.
        """
        skew = self._skew(H, W)
        one = torch.eye(self.channels, dtype=skew.dtype, device=skew.device)[:, :, None]
        solved, _ = solve_frequencies(one + skew, one.expand_as(skew))  # (columns, C, F)
        Q = (2 * solved - one).permute(2, 1, 0)
        return 1.5 * Q - 0.5 * (Q @ (Q.mH @ Q))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return _apply(self._unitary(*x.shape[2:]), x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        return _apply(self._unitary(*z.shape[2:]).mH, z), logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        return x.new_zeros(x.shape[0])


def _apply(matrices: Tensor, x: Tensor) -> Tensor:
    """Multiply every frequency of ``x (B, C, H, W)`` by its matrix ``(F, C, C)``."""
    product = matrices @ to_frequencies(x).permute(2, 1, 0)
    return from_frequencies(product.permute(2, 1, 0), x)
