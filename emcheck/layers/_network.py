"""The networks inside the coupling layers and the affine autoregressive one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import validate_positive

_KERNELS = ((3, 3), (1, 1), (3, 3))


class CouplingNetwork(nn.Module):
    """Convolutions with ReLU between them, 3x3, 1x1, 3x3 in couplings; the last starts at zero.

    Columns are padded, so that the width is kept. So are rows, unless ``pad_rows`` is False.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        width: int,
        generator: torch.Generator | None,
        kernels: tuple[tuple[int, int], ...] = _KERNELS,
        pad_rows: bool = True,
    ) -> None:
        super().__init__()
        validate_positive("width", width)
        self.pad_rows = pad_rows
        widths = (channels, *[width] * (len(kernels) - 1), out)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for l, kernel in enumerate(kernels):
            weight = torch.empty(widths[l + 1], widths[l], *kernel)
            nn.init.normal_(weight, std=(2 / weight[0].numel()) ** 0.5, generator=generator)
            self.weights.append(weight if l + 1 < len(kernels) else torch.zeros_like(weight))
            self.biases.append(torch.zeros(widths[l + 1]))

    def forward(self, x: Tensor) -> Tensor:
        for l, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            above = weight.shape[2] // 2 if self.pad_rows else 0
            padding = (above, weight.shape[3] // 2)
            x = F.conv2d(torch.relu(x) if l else x, weight, bias, padding=padding)
        return x
