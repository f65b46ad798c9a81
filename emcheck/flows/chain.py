"""Layers applied one after the other."""

from __future__ import annotations

from torch import Tensor, nn

from emcheck.contract import InvertibleLayer


class Chain(InvertibleLayer):
    """``f = f_L o ... o f_1``: the layers one after the other, undone in reverse order.

    Log-det: the sum of the layers' log-dets, each at its own input.

    Cost: the sum of the layers' costs.

    Reference: Rezende, Mohamed, Variational Inference with Normalizing Flows, 2015,
    arXiv 1505.05770, section 3.

    Args:
        layers: any modules with ``forward`` and ``inverse`` that return ``(value, logdet)``.

    Raises:
        ValueError: no layer, or one without ``inverse``.

    >>> import torch
    >>> from emcheck.layers import PermuteChannels, Squeeze2d
    >>> flow = Chain(Squeeze2d(), PermuteChannels(4))
    >>> flow(torch.arange(4.0).reshape(1, 1, 2, 2))[0].flatten()
    tensor([3., 2., 1., 0.])
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        if not layers:
            raise ValueError("expected at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, nn.Module) or not callable(getattr(layer, "inverse", None)):
                raise ValueError(f"expected modules with an inverse, got {type(layer).__name__}")
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total: Tensor | None = None
        for layer in self.layers:
            x, logdet = layer(x)
            total = logdet if total is None else total + logdet
        assert total is not None
        return x, total

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total: Tensor | None = None
        for layer in reversed(self.layers):
            z, logdet = layer.inverse(z)  # type: ignore[operator]
            total = logdet if total is None else total + logdet
        assert total is not None
        return z, total

    def log_det(self, x: Tensor) -> Tensor:
        *first, last = self.layers
        total: Tensor | None = None
        for layer in first:
            x, logdet = layer(x)
            total = logdet if total is None else total + logdet
        final: Tensor = last.log_det(x) if hasattr(last, "log_det") else last(x)[1]  # type: ignore[operator]
        return final if total is None else total + final
