"""Layers in a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.layer import Event, InvertibleLayer, validate_positive
from emcheck.layers import (
    ActNorm2d,
    AffineCoupling2d,
    Conv1x1PLU,
    Conv1x1QR,
    EmergingConv2d,
    PeriodicConv2d,
    PermuteChannels,
)
from emcheck.oracle import ChainDefinition, Definition
from emcheck.spec import LayerSpec, Trait, spec_of
from emcheck.styles import move_parameters


class Chain(InvertibleLayer):
    """``f = f_L o ... o f_1``: the layers one after the other, undone in reverse order.

    Log-det: the sum of the layers', each at its own input.

    Cost: the sum of the layers'.

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


def _glow_step(channels: int, generator: torch.Generator | None) -> list[nn.Module]:
    coupling = AffineCoupling2d(channels, 4, generator=generator)
    return [ActNorm2d(channels), Conv1x1PLU(channels, generator=generator), coupling]


def _emerging_step(channels: int, generator: torch.Generator | None) -> list[nn.Module]:
    mixing = Conv1x1QR(channels, generator=generator)
    return [ActNorm2d(channels), mixing, EmergingConv2d(channels, generator=generator)]


def _periodic_step(channels: int, generator: torch.Generator | None) -> list[nn.Module]:
    mixing = PeriodicConv2d(channels, generator=generator)
    coupling = AffineCoupling2d(channels, 4, generator=generator)
    return [mixing, PermuteChannels(channels), coupling]


_STEPS = {"glow": _glow_step, "emerging": _emerging_step, "periodic": _periodic_step}


def _build(channels: int, step: str = "glow", *, generator: torch.Generator | None = None) -> Chain:
    validate_positive("channels", channels, least=2)
    return Chain(*_STEPS[step](channels, generator))


def _define(layer: nn.Module, event: Event) -> Definition:
    parts: list[Definition] = []
    for part in layer.get_submodule("layers").children():
        spec = spec_of(part)
        if spec is None:
            raise ValueError(f"expected layers with a definition, got {type(part).__name__}")
        parts.append(spec.define(part, event))
        event = getattr(parts[-1], "event_out", event)
    return ChainDefinition(parts)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Only the first part is made ill-conditioned: conditions multiply along the chain."""
    for l, part in enumerate(layer.get_submodule("layers").children()):
        move_parameters(part, "mixed" if style == "ill" and l else style, generator)


Chain.spec = LayerSpec(
    build=_build,
    define=_define,
    options={"step": tuple(_STEPS)},
    traits=frozenset({Trait.COMPOSED}),
    min_channels=2,
    move=_move,
)
