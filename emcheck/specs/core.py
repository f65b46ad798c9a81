"""What the suite must know about a layer: how to build it, define it and stress it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import nn

from emcheck.contract import Event, InvertibleLayer
from emcheck.oracle import Definition
from emcheck.oracle.precision import Array


class Trait(Enum):
    """Properties of a layer that switch on the checks that need them."""

    LINEAR = "z is affine in x and the log-det does not depend on x"
    ZERO_PADDED = "the log-det is H W times a number that depends on the parameters alone"
    EQUIVARIANT = "a shifted image gives the shifted latent, away from the border"
    PERIODIC = "a cyclically shifted image gives the cyclically shifted latent, everywhere"
    POINTWISE = "pixels do not mix"
    REVERSIBLE = "the option `reverse` flips both space axes and both channel axes"
    INITIALIZES = "parameters can be set from data by `initialize(x)`"
    COMPOSED = "an ordered composition of other layers, `.layers`"


Mover = Callable[[nn.Module, str, torch.Generator], None]


@dataclass(frozen=True)
class LayerSpec:
    """Everything that properties, benches and reports need in order to cover a layer.

    Args:
        build: ``build(channels, **options, generator=...)`` returns a new layer; that of a sized
            one also takes ``height=`` and ``width=``. :meth:`new` calls it.
        define: returns the definition at the layer's present parameters, for ``(C, H, W)``; it
            reads parameters by name, so a faulty twin with the same names shares it.
        options: constructor keywords and the values that are tried.
        traits: which optional checks apply.
        min_channels: smallest channel count.
        move: sets parameters to a style of :mod:`emcheck.specs.parameter_styles`; None moves
            every parameter by a random step.
        order: returns an order of the flattened event that makes the Jacobian lower triangular.
        rescale: multiplies the linear part of the map by a power of two, in place.
        sized: whether a layer is built for one H and W, as it has parameters for every pixel.
        make_singular: makes the layer structurally singular in place, if that is possible.
    """

    build: Callable[..., nn.Module]
    define: Callable[[nn.Module, Event], Definition]
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    traits: frozenset[Trait] = frozenset()
    min_channels: int = 1
    move: Mover | None = None
    order: Callable[[nn.Module, Event], Array] | None = None
    make_singular: Callable[[nn.Module], None] | None = None
    rescale: Callable[[nn.Module, float], None] | None = None
    sized: bool = False

    def new(
        self, event: Event, options: Mapping[str, Any], generator: torch.Generator
    ) -> nn.Module:
        """Return a new layer for an event."""
        return self.build(event[0], **self.keywords(event, options), generator=generator)

    def keywords(self, event: Event, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor's keywords: the options and, if sized, the event's H and W.

        Raises:
            ValueError: a layer of one size, and an event that is not ``(C, H, W)``.
        """
        if not self.sized:
            return dict(options)
        if len(event) != 3:
            raise ValueError(
                f"expected the event (C, H, W), which the layer is built for, got {event}"
            )
        return {**options, "height": event[1], "width": event[2]}

    @property
    def any_size(self) -> bool:
        """Whether one layer is known to work at any H and W that ``multiple`` divides."""
        return not self.sized and Trait.COMPOSED not in self.traits and "of" not in self.options

    def multiple(self, options: Mapping[str, Any]) -> int:
        """Return what must divide H and W: the option ``factor`` (default: its first), or 1."""
        (default, *_) = self.options.get("factor", (1,))
        return int(options.get("factor", default))


#: Layer class -> its spec, in the order of registration; every module of this package adds some.
SPECS: dict[type[InvertibleLayer], LayerSpec] = {}


def spec_of(layer: nn.Module) -> LayerSpec | None:
    """Return the spec of a layer's class or of the class it derives from; None if there is none."""
    return next((SPECS[cls] for cls in type(layer).__mro__ if cls in SPECS), None)


def spec_for(cls: type[InvertibleLayer]) -> LayerSpec:
    """Return the spec of a class, or of the one it derives from.

    Raises:
        KeyError: there is none.
    """
    for base in cls.__mro__:
        if base in SPECS:
            return SPECS[base]
    raise KeyError(f"{cls.__name__} has no spec: expected a module of emcheck.specs that adds one")


def options_of(layer: nn.Module) -> dict[str, Any]:
    """Return the values of the spec's options that a built layer carries as attributes."""
    spec = spec_of(layer)
    names = spec.options if spec is not None else {}
    return {name: getattr(layer, name) for name in names if hasattr(layer, name)}
