"""The emerging convolution of the paper: a reversed and an ordinary square conv in a row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from emcheck.layer import Event, InvertibleLayer, validate_images
from emcheck.layers._tools import per_sample
from emcheck.layers.autoregressive import (
    AutoregressiveConv2d,
    log_diagonal,
    masked_weight,
    move_masked,
)
from emcheck.oracle import Componentwise, ConvFactor, DiagonalLogdet, to_numpy
from emcheck.solve import convolve_masked
from emcheck.spec import LayerSpec, Trait
from emcheck.styles import normal, scale_parameters, set_parameter


class EmergingConv2d(InvertibleLayer):
    """Two square-masked convolutions ``z = w2 * (w1 * x) + b``, ``w1`` reversed and first.

    Together they have exactly the receptive field of one ``k x k`` convolution and equal
    one except on the first ``r D`` rows and columns.

    Log-det: the sum of the two, ``H W sum_c (log|w1[c,c,r,r]| + log|w2[c,c,r,r]|)``.

    Cost: forward and inverse ``2 B H W C^2 (r+1)^2``; log-det ``C``.

    Reference: Hoogeboom, van den Berg, Welling, Emerging Convolutions for Generative
    Normalizing Flows, 2019, arXiv 1901.11137, section 3.2.

    Args:
        channels: ``C``, at least 1.
        kernel_size: odd ``k``.
        dilation: ``D``, at least 1.
        generator: random numbers of the initial values; torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            kernel; ``inverse`` with a zero on a diagonal, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = EmergingConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.first = AutoregressiveConv2d(
            channels, kernel_size, "square", True, dilation, generator=generator
        )
        self.second = AutoregressiveConv2d(
            channels, kernel_size, "square", False, dilation, generator=generator
        )
        self.bias = nn.Parameter(torch.zeros(channels))  # (C,)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.second.channels, self.bias)
        first, second = self.first, self.second
        weights, links = (first.weight, second.weight), (first.link, second.link)
        z, logabsdet = convolve_masked(x, weights, links, self.bias)
        return z, per_sample(x.shape[2] * x.shape[3] * logabsdet, x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.second.channels, self.bias)
        y, logdet_second = self.second.inverse(z - self.bias[:, None, None])
        x, logdet_first = self.first.inverse(y)
        return x, logdet_first + logdet_second

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.second.channels, self.bias)
        diagonals = torch.cat([self.first.diagonal(), self.second.diagonal()])
        return per_sample(x.shape[2] * x.shape[3] * diagonals.abs().log().sum(), x)


def _define(layer: nn.Module, event: Event) -> Componentwise:
    first, second = (layer.get_submodule(name) for name in ("first", "second"))
    w1 = masked_weight(first, "weight", "square", True)
    w2 = masked_weight(second, "weight", "square", False)
    dilation = int(first.dilation)  # type: ignore[arg-type]
    log_abs = np.concatenate([log_diagonal(w1), log_diagonal(w2)])
    rule = DiagonalLogdet(log_abs, event[1] * event[2])
    factors = [ConvFactor(w1, dilation), ConvFactor(w2, dilation)]
    return Componentwise(factors, rule, event, bias=to_numpy(layer, "bias"))


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    r = layer.get_parameter("first.weight").shape[-1] // 2
    for name in ("first.weight", "second.weight"):
        move_masked(layer, name, (r + 1) ** 2, style, generator)
    set_parameter(layer, "bias", normal(layer.get_parameter("bias"), generator))


def _zero_diagonal(layer: nn.Module) -> None:
    weight = layer.get_parameter("second.weight")
    weight.data[0, 0, weight.shape[-1] // 2, weight.shape[-1] // 2] = 0.0


EmergingConv2d.spec = LayerSpec(
    build=EmergingConv2d,
    define=_define,
    options={"kernel_size": (3, 1, 5, 7), "dilation": (1, 2, 3)},
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT}),
    move=_move,
    rescale=scale_parameters("first.weight", "bias"),
    make_singular=_zero_diagonal,
)
