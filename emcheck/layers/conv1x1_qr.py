"""The 1x1 convolution of the paper in its QR parametrisation with Householder reflections."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn

from emcheck.contract import InvertibleLayer, refuse_zero, validate_images, validate_positive
from emcheck.layers._tools import (
    mix_channels,
    per_sample,
    pixels_back,
    pixels_last,
    solve_by_lu,
    triangular_solve,
)
from emcheck.solve.choose import attempt, runs_compiled
from emcheck.solve.transforms import watched

#: Up to this many channels, compiled code applies the reflections one by one instead of torch's
#: compact form: 10 us against 42 at 12 channels, 42 against 77 at 48, 83 against 110 at 64.
SMALL = 48


class Conv1x1QR(InvertibleLayer):
    """1x1 convolution with ``W = Q (U + diag(s))``, ``Q = Q_1 ... Q_C``.

    ``Q_i = I - 2 v_i v_i^T / (v_i^T v_i)`` are Householder reflections with learnt ``v_i``,
    ``U`` is strictly upper triangular, ``s`` has free signs.

    Log-det: ``H W sum_c log|s_c|``.

    Cost: forward ``B H W C^2`` plus ``4 C^3`` to form ``W``; inverse ``B H W C^2``
    plus ``4 C^3``, with derivatives ``2 B H W C^2``; log-det ``C``.

    Reference: Hoogeboom, van den Berg, Welling, Emerging Convolutions for Generative
    Normalizing Flows, 2019, arXiv 1901.11137, section 3.3.

    Args:
        channels: ``C``, at least 1.
        generator: random numbers of ``v ~ N(0, 1)``; torch's default if None. ``s = 1`` and
            ``U = 0`` at the start.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; a zero
            reflection vector; ``inverse`` with a zero in ``s``, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = Conv1x1QR(3, generator=torch.Generator().manual_seed(0))
    >>> layer.log_det(torch.ones(2, 3, 4, 4)).detach()
    tensor([0., 0.])
    """

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.vectors = nn.Parameter(torch.randn(channels, channels, generator=generator))
        self.upper = nn.Parameter(torch.zeros(channels, channels))  # strictly upper part used
        self.scale = nn.Parameter(torch.ones(channels))

    def _reflect(self, M: Tensor) -> Tensor:
        """``Q M (C, n)`` by ``Q = I - V T V^T``, ``T^-1 = triu(V^T V, 1) + diag(V^T V) / 2``.

        This is the compact (WY) form of the product of the reflections: three matrix operations
        instead of ``C`` updates one after the other. Columns of V are scaled by their largest
        entry, so that no squared length overflows or underflows.

        Reference: Schreiber, Van Loan, A storage-efficient WY representation for products of
        Householder transformations, SIAM J. Sci. Stat. Comput. 1989.
        """
        largest = torch.linalg.vector_norm(self.vectors.detach(), torch.inf, dim=1, keepdim=True)
        refuse_zero(largest, "Householder vector")
        rows = self.vectors / largest  # V^T
        inverse_T = (rows @ rows.T).triu()
        torch.diagonal(inverse_T).mul_(0.5)
        return torch.addmm(M, rows.T, triangular_solve(inverse_T, rows @ M, upper=True), alpha=-1)

    def _triangle(self) -> Tensor:
        return self.upper.triu(1) + torch.diag(self.scale)

    def _matrix(self) -> Tensor:
        """Return ``W (C, C)``, from compiled code if it is small and needs no derivative."""
        own = self.vectors, self.upper, self.scale
        if self.channels <= SMALL and runs_compiled("reflections", *own):
            from emcheck.solve import reflections  # imports Numba

            W = attempt("reflections", lambda: _by_reflections(reflections, own), lambda: None)
            if W is not None:
                return W
        return self._reflect(self._triangle())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return mix_channels(self._matrix(), x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        refuse_zero(self.scale, "scale")
        if not watched(self.vectors, self.upper, self.scale, z):
            found = solve_by_lu(self._matrix(), z)
            if found is not None:
                return found[0], logdet
        Q = self._reflect(torch.eye(self.channels).to(self.vectors))
        y = Q.T @ pixels_last(z)
        return pixels_back(triangular_solve(self._triangle(), y, upper=True), z), logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.scale)
        return per_sample(x.shape[2] * x.shape[3] * self.scale.abs().log().sum(), x)


def _by_reflections(module: ModuleType, own: tuple[Tensor, Tensor, Tensor]) -> Tensor | None:
    """Return ``W`` from compiled code; None with a zero reflection vector."""
    W, zero = module.product(*(parameter.detach() for parameter in own))
    return W if zero < 0 else None
