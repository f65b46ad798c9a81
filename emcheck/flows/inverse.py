"""A layer turned around."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.layer import Event, InvertibleLayer
from emcheck.layers import ActNorm2d, AutoregressiveConv2d, EmergingConv2d, PeriodicConv2d
from emcheck.oracle import InverseDefinition
from emcheck.spec import LayerSpec, Trait, spec_of
from emcheck.styles import move_parameters


class Inverse(InvertibleLayer):
    """``f^-1`` as a layer: ``forward`` is the inner ``inverse`` and the other way round.

    Log-det: that of the inner layer's other direction, ``-log|det J|`` at the image.

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


_INNER = {
    "autoregressive": AutoregressiveConv2d,
    "emerging": EmergingConv2d,
    "periodic": PeriodicConv2d,
    "actnorm": ActNorm2d,
}


def _build(
    channels: int, of: str = "autoregressive", *, generator: torch.Generator | None = None
) -> Inverse:
    return Inverse(_INNER[of](channels, generator=generator))


def _define(layer: nn.Module, event: Event) -> InverseDefinition:
    inner = layer.get_submodule("layer")
    spec = spec_of(inner)
    if spec is None:
        raise ValueError(f"expected a layer with a definition, got {type(inner).__name__}")
    return InverseDefinition(spec.define(inner, event))


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    move_parameters(layer.get_submodule("layer"), style, generator)


def _make_singular(layer: nn.Module) -> None:
    inner = layer.get_submodule("layer")
    spec = spec_of(inner)
    if spec is not None and spec.make_singular is not None:
        spec.make_singular(inner)


Inverse.spec = LayerSpec(
    build=_build,
    define=_define,
    options={"of": tuple(_INNER)},
    traits=frozenset({Trait.LINEAR}),
    move=_move,
    make_singular=_make_singular,
)
