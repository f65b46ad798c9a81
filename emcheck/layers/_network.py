"""The network inside the coupling layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import validate_positive

_SIZES = (3, 1, 3)


class CouplingNetwork(nn.Module):
    """3x3, 1x1, 3x3 convolutions with ReLU between them; the last one starts at zero."""

    def __init__(
        self, channels: int, out: int, width: int, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        validate_positive("width", width)
        widths = (channels, width, width, out)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for l, k in enumerate(_SIZES):
            weight = torch.empty(widths[l + 1], widths[l], k, k)
            nn.init.normal_(weight, std=(2 / weight[0].numel()) ** 0.5, generator=generator)
            self.weights.append(weight if l + 1 < len(_SIZES) else torch.zeros_like(weight))
            self.biases.append(torch.zeros(widths[l + 1]))

    def forward(self, x: Tensor) -> Tensor:
        for l, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.conv2d(torch.relu(x) if l else x, weight, bias, padding=weight.shape[-1] // 2)
        return x
