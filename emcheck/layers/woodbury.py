"""Woodbury transformations: low-rank updates of the identity over channels and over space."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from emcheck.contract import InvertibleLayer, validate_images, validate_positive
from emcheck.layers._tools import per_sample, solve

Spatial = Literal["joint", "separate"]


class LowRank(nn.Module):
    """``M = I + U V (n, n)`` along one axis of images, ``U (n, d)`` and ``V (d, n)``.

    ``U`` starts at 0, so that ``M = I``, and ``V`` at ``N / sqrt(n)``, so that ``U`` has a
    gradient. A rank above ``n`` is cut to ``n``, as more adds no matrix. It validates nothing.
    """

    def __init__(self, axis: str, size: int, rank: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.axis, rank = axis, min(rank, size)
        self.u = nn.Parameter(torch.zeros(size, rank))
        self.v = nn.Parameter(torch.randn(rank, size, generator=generator) / math.sqrt(size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return updated(x, self.axis, self.u, self.v), self.log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``M^-1 = I - U (I + V U)^-1 V`` (Woodbury)."""
        return updated(z, self.axis, -self.u, solve(self.small(), self.v)), -self.log_det(z)

    def log_det(self, x: Tensor) -> Tensor:
        """``N log|det(I + V U)|`` (Sylvester) for ``N`` vectors in one sample of ``x``."""
        vectors = x.shape[1] * x.shape[2] * x.shape[3] // len(self.u)
        return per_sample(vectors * torch.linalg.slogdet(self.small()).logabsdet, x)

    def small(self) -> Tensor:
        """``I + V U (d, d)``."""
        return torch.eye(len(self.v)).to(self.v) + self.v @ self.u


class Woodbury2d(InvertibleLayer):
    """``z = M_c x M_s^T`` for ``x`` as ``(C, H W)``, with ``M = I + U V`` of low rank.

    ``M_c = I + U_c V_c (C, C)`` mixes the channels of every pixel, ``M_s (H W, H W)`` the pixels of
    every channel (``spatial="joint"``; the paper writes it from the right, as ``I + V_s U_s``). The
    memory-efficient form (``spatial="separate"``) has ``M_h (H, H)`` along columns of the image and
    ``M_w (W, W)`` along its rows instead, ``M_s = M_h (x) M_w``, and ``2 d_s (H + W)`` parameters
    for space, not ``2 d_s H W``. The factors act on different axes, so their order is of no matter.

    Log-det: ``H W log|det(I + V_c U_c)| + C log|det(I + V_s U_s)|``, of ``d x d`` matrices
    (Sylvester); of the separate form the last term is ``C W log|det(I + V_h U_h)| + C H
    log|det(I + V_w U_w)|``.

    Cost: forward ``2 B C H W (d_c + d_s)`` (separate: ``d_c + 2 d_s``); inverse the same plus
    ``(C + H W) d^2`` to form and solve the small systems; log-det ``(C + H W) d^2 + d^3``.

    Reference: Lu, Huang, Woodbury Transformations for Deep Generative Flows, 2020,
    arXiv 2002.12229.

    Args:
        channels: ``C``, at least 1.
        height: ``H``, at least 1; the layer takes images of this size only.
        width: ``W``, at least 1.
        channel_rank: ``d_c``, at least 1; cut to ``C``.
        spatial_rank: ``d_s``, at least 1; cut to the size of its axis.
        spatial: ``"joint"`` or ``"separate"``.
        generator: random numbers of the initial ``V``; torch's default if None. ``U = 0`` at the
            start, so the layer is the identity.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an unknown
            form; ``inverse`` with an exactly singular ``I + V U``, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = Woodbury2d(2, 4, 5, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(3, 2, 4, 5)
    >>> torch.equal(layer(x)[0], x), layer.log_det(x).shape
    (True, torch.Size([3]))
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        channel_rank: int = 8,
        spatial_rank: int = 8,
        spatial: Spatial = "joint",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.height = validate_positive("height", height)
        self.width = validate_positive("width", width)
        self.channel_rank = validate_positive("channel_rank", channel_rank)
        self.spatial_rank = validate_positive("spatial_rank", spatial_rank)
        if spatial not in get_args(Spatial):
            raise ValueError(f"expected spatial to be one of {get_args(Spatial)}, got {spatial!r}")
        self.spatial = spatial
        sizes = {"channel": (channels, channel_rank)}
        if spatial == "joint":
            sizes["space"] = (height * width, spatial_rank)
        else:
            sizes |= {"rows": (height, spatial_rank), "columns": (width, spatial_rank)}
        self.factors = nn.ModuleDict(
            {axis: LowRank(axis, n, rank, generator) for axis, (n, rank) in sizes.items()}
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._validate(x)
        total = x.new_zeros(len(x))
        for factor in self.ordered():
            x, logdet = factor(x)
            total = total + logdet
        return x, total

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self._validate(z)
        total = z.new_zeros(len(z))
        for factor in reversed(self.ordered()):
            z, logdet = factor.inverse(z)
            total = total + logdet
        return z, total

    def log_det(self, x: Tensor) -> Tensor:
        self._validate(x)
        return torch.stack([factor.log_det(x) for factor in self.ordered()]).sum(dim=0)

    def ordered(self) -> list[LowRank]:
        """Return the factors in the order of ``forward``."""
        return list(self.factors.values())  # type: ignore[arg-type]

    def _validate(self, x: Tensor) -> None:
        validate_images(x, self.channels, self.factors["channel"].u)  # type: ignore[arg-type]
        wanted = self.channels, self.height, self.width
        if tuple(x.shape[1:]) != wanted:
            sizes = ", ".join(map(str, wanted))
            raise ValueError(f"expected (B, {sizes}), got {tuple(x.shape)}")


def updated(x: Tensor, axis: str, u: Tensor, v: Tensor) -> Tensor:
    """``(I + U V) x`` along one axis of ``x (B, C, H, W)``."""
    if axis in ("channel", "rows"):
        y = x.flatten(2) if axis == "channel" else x.flatten(0, 1)  # (R, n, Q)
        inner = torch.bmm(v.expand(len(y), -1, -1), y)
        return torch.baddbmm(y, u.expand(len(y), -1, -1), inner).reshape(x.shape)
    rows = x.reshape(-1, len(u))
    return torch.addmm(rows, rows @ v.T, u.T).reshape(x.shape)
