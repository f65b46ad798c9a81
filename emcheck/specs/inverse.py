"""How ``Inverse`` is built and defined and how its parameters move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.contract import Event
from emcheck.flows.inverse import Inverse
from emcheck.layers import ActNorm2d, AutoregressiveConv2d, EmergingConv2d, PeriodicConv2d
from emcheck.oracle import InverseDefinition
from emcheck.specs.core import SPECS, LayerSpec, Trait, spec_of
from emcheck.specs.parameter_styles import move_parameters

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


SPECS[Inverse] = LayerSpec(
    build=_build,
    define=_define,
    options={"of": tuple(_INNER)},
    traits=frozenset({Trait.LINEAR}),
    move=_move,
    make_singular=_make_singular,
)
