"""A layer with its directions exchanged."""

from __future__ import annotations

from torch import Tensor, nn

from emcheck.contract import InvertibleLayer


class Inverse(InvertibleLayer):
    """``f^-1`` as a layer: ``forward`` is the inner ``inverse`` and the other way round.

    Log-det: that of the inner ``inverse``, ``-log|det J|`` of ``f`` at the point it returns.

    Cost: the inner layer's, directions exchanged.

    Reference: Papamakarios et al., Normalizing Flows for Probabilistic Modeling and
    Inference, 2019, arXiv 1912.02762, section 2.

    Args:
        layer: any module with ``forward`` and ``inverse`` that return ``(value, logdet)``.

    Raises:
        ValueError: a layer without ``inverse``.

    >>> import torch
    >>> from emcheck.layers import Squeeze2d
    >>> Inverse(Squeeze2d())(torch.arange(4.0).reshape(1, 4, 1, 1))[0].shape
    torch.Size([1, 1, 2, 2])
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module) or not callable(getattr(layer, "inverse", None)):
            raise ValueError(f"expected a module with an inverse, got {type(layer).__name__}")
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer.inverse(x)  # type: ignore[operator]
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer(z)
        return x, logdet

    def log_det(self, x: Tensor) -> Tensor:
        return self.forward(x)[1]
