"""A layer of unknown make, for tests."""

from __future__ import annotations

from torch import Tensor, nn


class Hidden(nn.Module):
    """A layer that does not say what it is, as a stranger's does not."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(z)  # type: ignore[operator]
