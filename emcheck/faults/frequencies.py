"""Faults of periodic convolutions and their half spectrum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.faults.core import Faulty, OtherLogdet, fault
from emcheck.layers import PeriodicConv2d
from emcheck.solve.frequencies import slogdet_frequencies


class _Weighted(OtherLogdet[PeriodicConv2d]):
    """A layer whose log-det has other weights for the columns of the half spectrum."""

    def weigh(self, weights: Tensor) -> None:
        """Set the weights of the columns, initially all 1, in place."""
        raise NotImplementedError

    def total(self, H: int, W: int) -> Tensor:
        weights = self.layer.weight.new_ones(W // 2 + 1)
        self.weigh(weights)
        columns = slogdet_frequencies(self.layer._spectrum(H, W)).reshape(H, -1)
        return (columns * weights).sum()


@fault(
    "logdet_matches_jacobian",
    PeriodicConv2d,
    "Half-spectrum sums written for power-of-two images, whose last column stands alone.",
    case={"event": (2, 4, 5)},
    cause="right_only_for_even_width",
)
class HalfSpectrumForEvenWidth(_Weighted):
    """The last column of the half spectrum is counted once, for odd W too."""

    def weigh(self, weights: Tensor) -> None:
        weights[1:-1] = 2


@fault(
    "logdet_matches_definition",
    PeriodicConv2d,
    "Half-spectrum sums that double everything but the constant column.",
    case={"event": (2, 5, 4)},
    cause="right_only_for_odd_width",
)
class HalfSpectrumForOddWidth(_Weighted):
    """The last column of the half spectrum is counted twice, for even W too."""

    def weigh(self, weights: Tensor) -> None:
        weights[1:] = 2


@fault(
    "degenerate_sizes",
    PeriodicConv2d,
    "FFTs asked for the image's size, which crop a kernel that is larger.",
    options={"kernel_size": 5},
    cause="small_images",
)
class KernelCropped(PeriodicConv2d):
    """A kernel larger than the image is cropped instead of wrapped."""

    def _in_space(self, H: int, W: int) -> bool:
        return False

    def _spectrum(self, H: int, W: int) -> Tensor:
        C, r = self.channels, self.kernel_size // 2
        weight = self.weight[:, :, :H, :W]
        rows, columns = (torch.arange(n) - r for n in weight.shape[2:])
        index = ((-rows % H)[:, None] * W + (-columns % W)[None, :]).reshape(-1)
        image = weight.new_zeros(C, C, H * W).index_add(2, index, weight.flatten(2))
        spectrum: Tensor = torch.fft.rfft2(image.reshape(C, C, H, W))
        return spectrum.flatten(2)


@fault(
    "degenerate_sizes",
    PeriodicConv2d,
    "A log-det with its own copy of the spectrum, which never got the fix for small images.",
    options={"kernel_size": 5},
    cause="small_images",
)
class KernelCroppedInTheLogdet(KernelCropped):
    """A large kernel is cropped for the log-det only; the values wrap it correctly."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._correct().forward(x)[0], self.log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._correct().inverse(z)[0], -self.log_det(z)

    def _correct(self) -> PeriodicConv2d:
        layer = PeriodicConv2d(self.channels, self.kernel_size)
        layer.weight = self.weight
        return layer


@fault(
    "forward_matches_definition",
    PeriodicConv2d,
    "Fourier textbooks convolve, deep learning correlates; log-det and round trip are the same.",
    options={"kernel_size": 3},
    case={"event": (2, 4, 5)},
    cause="kernel_flipped",
)
class ConvolvesInsteadOfCorrelating(PeriodicConv2d):
    """The spectrum is conjugated: the kernel is flipped in space, in both directions."""

    def _in_space(self, H: int, W: int) -> bool:
        return False

    def _spectrum(self, H: int, W: int) -> Tensor:
        return super()._spectrum(H, W).conj()


@fault(
    "shift_is_cyclic",
    PeriodicConv2d,
    "Forward by the framework's convolution with its default padding, inverse by FFT.",
    cause=("wrong_padding", "border_differs"),
)
class PaddedWithZeros(Faulty[PeriodicConv2d]):
    """Forward pads with zeros instead of wrapping around."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        return F.conv2d(x, self.layer.weight, padding=self.layer.kernel_size // 2), logdet


@fault(
    "jacobian_is_block_circulant",
    PeriodicConv2d,
    "Panoramas: padding that wraps around sideways and repeats the edge at top and bottom.",
    options={"kernel_size": 3},
    cause=("wrong_padding", "border_differs"),
)
class WrapsSidewaysOnly(Faulty[PeriodicConv2d]):
    """Forward wraps around horizontally and repeats the edge vertically."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        wrapped = torch.cat([x[..., -1:], x, x[..., :1]], dim=3)
        padded = torch.cat([wrapped[:, :, :1], wrapped, wrapped[:, :, -1:]], dim=2)
        return F.conv2d(padded, self.layer.weight), logdet
