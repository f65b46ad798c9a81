"""How ``Chain`` is built and defined and how its parameters move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.contract import Event, validate_positive
from emcheck.flows.chain import Chain
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
from emcheck.specs.core import SPECS, LayerSpec, Trait, spec_of
from emcheck.specs.parameter_styles import move_parameters


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
    """Make only the first part ill-conditioned: condition numbers multiply along the chain."""
    for l, part in enumerate(layer.get_submodule("layers").children()):
        move_parameters(part, "mixed" if style == "ill" and l else style, generator)


SPECS[Chain] = LayerSpec(
    build=_build,
    define=_define,
    options={"step": tuple(_STEPS)},
    traits=frozenset({Trait.COMPOSED}),
    min_channels=2,
    move=_move,
)
