"""Two defects described for the paper's own code, written anew from the mathematics."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studies.survey.entries import Entry, Listing

#: The name of this listing, beside those of the released libraries.
REPLICA = "replica of the paper's code"


class FusedEmerging(nn.Module):
    """``z = conv(w2, conv(w1, W x))``: a 1x1 convolution and an emerging pair in one layer.

    ``w1`` is reversed-square and ``w2`` square masked, with triangular centre taps ``D1, D2``;
    ``log|det| = HW (log|det W| + sum log|D1| + sum log|D2|)``. The defect: ``forward`` leaves
    ``log|det W|`` out, ``inverse`` subtracts it twice. ``W`` begins as a random orthogonal
    matrix, for which both mistakes are 0.

    Args:
        channels: C.
        defective: False for what is right.
    """

    mask: Tensor

    def __init__(self, channels: int, defective: bool = True) -> None:
        super().__init__()
        self.defective = defective
        C = channels
        mask = torch.zeros(C, C, 3, 3)
        mask[:, :, :2, :2] = 1
        mask[:, :, 1, 1] = torch.tril(torch.ones(C, C))
        self.register_buffer("mask", mask)
        self.W = nn.Parameter(torch.linalg.qr(torch.randn(C, C))[0])
        centre = torch.zeros(C, C, 3, 3)
        centre[:, :, 1, 1] = torch.eye(C)
        self.w1 = nn.Parameter(centre + 0.02 * torch.randn(C, C, 3, 3))
        self.w2 = nn.Parameter(centre + 0.02 * torch.randn(C, C, 3, 3))

    def _pair(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.w1 * self.mask.flip((0, 1, 2, 3)), padding=1)
        return F.conv2d(y, self.w2 * self.mask, padding=1)

    def _logdets(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the 1x1 convolution and of the pair, each ``(B,)``."""
        pixels = x.shape[2] * x.shape[3]
        mixing = pixels * torch.linalg.slogdet(self.W)[1]
        taps = [w[:, :, 1, 1].diagonal().abs().log().sum() for w in (self.w1, self.w2)]
        return mixing.expand(len(x)), (pixels * (taps[0] + taps[1])).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixing, pair = self._logdets(x)
        z = self._pair(torch.einsum("oc,bchw->bohw", self.W, x))
        return z, pair if self.defective else pair + mixing

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mixing, pair = self._logdets(z)
        event, n = z.shape[1:], math.prod(z.shape[1:])
        basis = torch.eye(n, dtype=z.dtype, device=z.device).reshape(n, *event)
        matrix = self._pair(basis).reshape(n, n)  # row i: the image of basis vector i
        y = torch.linalg.solve(matrix.T, z.flatten(1).T).T.reshape(z.shape)
        flat = torch.linalg.solve(self.W, y.transpose(0, 1).flatten(1))
        x = flat.reshape(z.shape[1], len(z), *event[1:]).transpose(0, 1)
        return x, -pair - (2 if self.defective else 1) * mixing


class Periodic(nn.Module):
    """A circular convolution, inverted frequency by frequency.

    ``log|det| = sum_uv log|det W^_uv|``. The defect: the kernel is moved by 1 before its
    transform, which puts the centre tap at the origin for ``k = 3`` alone.

    Args:
        channels: C.
        k: odd kernel size.
        defective: False for what is right at every k.
    """

    def __init__(self, channels: int, k: int, defective: bool = True) -> None:
        super().__init__()
        self.k, self.shift = k, 1 if defective else (k - 1) // 2
        w = 0.02 * torch.randn(channels, channels, k, k)
        w[:, :, k // 2, k // 2] += torch.linalg.qr(torch.randn(channels, channels))[0]
        self.w = nn.Parameter(w)

    def _spectrum(self, x: Tensor) -> Tensor:
        """``W^_uv = sum_a w_a exp(+2 pi i (u a_y / H + v a_x / W))``, ``(H, W, C, C)``."""
        offsets = torch.arange(self.k, device=x.device, dtype=x.dtype) - self.shift
        turns = []
        for size in x.shape[2:]:
            frequencies = torch.arange(size, device=x.device, dtype=x.dtype) / size
            turns.append(torch.exp(2j * math.pi * torch.outer(frequencies, offsets)))
        return torch.einsum("ua,vb,ocab->uvoc", *turns, self.w.to(turns[0].dtype))

    def _logdet(self, x: Tensor) -> Tensor:
        return torch.linalg.slogdet(self._spectrum(x))[1].sum().expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r = self.k // 2
        padded = F.pad(x, (r, r, r, r), mode="circular")
        return F.conv2d(padded, self.w), self._logdet(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        latent = torch.fft.fft2(z).permute(2, 3, 1, 0)  # (H, W, C, B)
        data = torch.linalg.solve(self._spectrum(z), latent).permute(3, 2, 0, 1)
        return torch.fft.ifft2(data).real, -self._logdet(z)


def entries() -> tuple[Entry, ...]:
    listing = Listing(REPLICA)
    omitted = "forward leaves the log-det of the 1x1 out, inverse subtracts it twice"
    shifted = "the kernel is moved by 1 whatever its size"
    listing.add("1x1 and emerging in one layer", (3, 4, 5), partial(FusedEmerging, 3), omitted)
    listing.add(
        "1x1 and emerging in one layer, mended",
        (3, 4, 5),
        partial(FusedEmerging, 3, defective=False),
    )
    listing.add("periodic, k = 3", (2, 5, 6), partial(Periodic, 2, 3), shifted)
    listing.add("periodic, k = 5", (2, 5, 6), partial(Periodic, 2, 5), shifted)
    listing.add("periodic, k = 5, mended", (2, 5, 6), partial(Periodic, 2, 5, defective=False))
    return listing.done()
