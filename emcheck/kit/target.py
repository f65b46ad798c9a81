"""Turns what a user gives into a subject that the checks understand."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from emcheck._internal.copying import copy_layer
from emcheck._internal.randomness import seeded
from emcheck.adapters import (
    Adapted,
    NotALayer,
    adapt,
    conditional,
)
from emcheck.adapters.conventions import Context, ContextLike, carried_argument, conventions_of
from emcheck.checks import Case, Subject
from emcheck.checks.capabilities import missing
from emcheck.checks.case import Draw, Tolerance
from emcheck.checks.log_prob import density_of
from emcheck.contract import Event
from emcheck.guard import foreign, one_line
from emcheck.guard.surroundings import settings_kept
from emcheck.kit.factory import factory_of
from emcheck.kit.options import tolerance_of
from emcheck.oracle import Definition, ReferenceDefinition
from emcheck.specs.core import options_of, spec_of

#: ``reference(layer, x)`` or ``reference(x)``: the latent of ``x (B, *event)`` in float64.
Reference = Callable[..., Any]

#: Most numbers in one sample: a batch of two is 4 GB in float64.
MOST_NUMBERS = 2**28

#: ``sample(batch, generator)``: data ``(batch, *event)`` in the domain of a layer.
Sample = Callable[[int, torch.Generator], Tensor]


def make_subject(
    given: object,
    shape: Sequence[int],
    reference: Reference | None = None,
    sample: Sample | None = None,
    capabilities: Mapping[str, bool] | None = None,
    context: ContextLike | None = None,
    tolerance: Tolerance | None = None,
) -> Subject:
    """Return a subject for a layer, or for a function that returns a new one.

    Raises:
        ValueError: ``given`` is neither, ``shape`` is no shape, the layer cannot be copied, or a
            capability is unknown.
    """
    event = validate_shape(shape)
    declared = dict(capabilities or {})
    if tolerance is not None:
        declared = {"exact_inverse": False, **declared}
    lacks = missing(declared)  # raises for an unknown capability before the layer is built
    condition = None if context is None else Context.of(context)
    fresh = factory_of(given)
    with settings_kept():
        layer = _adapted(fresh() if fresh else given, declared, condition)
    if isinstance(layer, Adapted) and layer.immutable:
        fresh = None  # its compiled calls serve every copy
    _require_numbers(layer)
    lacks = _lacking(layer) | lacks
    spec = spec_of(layer)
    options = options_of(layer)

    def build(case: Case) -> nn.Module:
        if spec is not None and dict(case.options or options) != options:
            return spec.new(case.event, case.options, case.generator(0))
        if fresh is None:
            return _copied(layer)
        with seeded(case.seed), settings_kept(), torch.enable_grad():  # it may train what it builds
            return _adapted(fresh(), declared, condition)

    adapted = isinstance(layer, Adapted) or spec is not None
    subject = Subject(
        estimated="deterministic_logdet" in lacks,
        tolerance=tolerance_of(tolerance),
        log_prob=condition is None and not adapted and density_of(layer) is not None,
        carried="" if adapted else carried_argument(layer),
        name=layer.name if isinstance(layer, Adapted) else type(layer).__name__,
        build=build,
        spec=spec,
        own=spec is not None,
        any_channels=False,
        any_size=spec is not None and spec.any_size,
        definition=_definition(reference) if reference else None,
        draw=_draw(sample, layer, event, condition),
        free=condition is not None and sample is None,
        context=condition,
        lacks=lacks,
        memo={},
        parameter_count=_size(layer),
        original=layer,
    )
    if fresh is None:
        _copied(layer)
    return subject


def _require_numbers(layer: nn.Module) -> None:
    if any(tensor.is_meta for tensor in (*layer.parameters(), *layer.buffers())):
        raise ValueError(
            f"expected a layer whose tensors hold numbers, got {type(layer).__name__} on the meta "
            "device: pass a function that returns a new one"
        )


def _lacking(layer: nn.Module) -> dict[str, str]:
    """Return the capabilities that a layer lacks by what it is, each with the reason."""
    who = "its library" if isinstance(layer, Adapted) else "it says so itself"
    own = missing(dict.fromkeys(getattr(layer, "lacks", ()), False), who)
    offers = isinstance(layer, Adapted) or has_inverse(layer)
    return own if offers else missing({"inverse": False}) | own


def _size(layer: nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters() if not is_lazy(p))


def validate_shape(shape: Sequence[int]) -> Event:
    """Return the event, one to four whole numbers from 1, as a tuple; else raise ``ValueError``."""
    ordered = isinstance(shape, Sequence) and not isinstance(shape, str | bytes | bytearray)
    event = tuple(shape) if ordered else ()
    whole = all(isinstance(size, int) and not isinstance(size, bool) for size in event)
    if not 1 <= len(event) <= 4 or not whole or min(event) < 1:
        wanted = "expected shape (D,), (C, L), (C, H, W) or (C, D, H, W) of whole numbers >= 1"
        raise ValueError(f"{wanted}, got {event or shape!r}")
    if math.prod(event) > MOST_NUMBERS:
        raise ValueError(f"expected an event of at most 2^28 numbers, got {event}")
    return event


def _adapted(layer: object, declared: Mapping[str, bool], condition: Context | None) -> nn.Module:
    """Return the layer in the form of the contract, or as a module whose calls take a context."""
    layer = layer if condition is None else conditional(layer)
    if isinstance(layer, nn.Module) and condition is not None and takes_context(layer):
        return layer
    if isinstance(layer, nn.Module) and declared.get("inverse") is False:
        return layer
    try:
        return adapt(layer)
    except NotALayer as error:
        if isinstance(layer, nn.Module) and has_inverse(layer):
            return layer
        got = type(layer).__name__
        raise ValueError(
            f"expected a module with forward and inverse, got {got} without either, or `reverse`, "
            "`decode`, a flag `reverse=`: emcheck.adapt(layer, forward=lambda layer, x: ..., "
            "inverse=lambda layer, z: ...) takes anything else; if there is no inverse: "
            "capabilities={'inverse': False}"
        ) from error


def takes_context(layer: nn.Module) -> bool:
    """Whether a call of a module has an argument for a condition."""
    return any(one.with_context().context for one in conventions_of(layer))


def has_inverse(layer: nn.Module) -> bool:
    """Whether a module offers two directions, by its signatures."""
    return any(one.inverse is not None for one in conventions_of(layer))


def _copied(layer: nn.Module) -> nn.Module:
    try:
        return copy_layer(layer)
    except foreign() as error:  # what a layer holds may refuse in many ways
        told = one_line(error)
        name = type(layer).__name__
        raise ValueError(
            f"expected a layer that can be copied, got {name} ({told}): pass a function that "
            "returns a new one"
        ) from error


def _draw(
    sample: Sample | None, layer: nn.Module, event: Event, condition: Context | None
) -> Draw | None:
    """Return a draw of data in the domain; one by the user or the adapter refuses other sizes.

    With a condition each sample is flat, and ends with a context of its own.
    """
    data = _data(sample, layer, event)
    if condition is None:
        return data

    def draw(batch: int, wanted: Event, generator: torch.Generator) -> Tensor:
        if data is None:
            x = torch.randn((batch, *wanted), generator=generator, dtype=torch.float64)
        else:
            x = data(batch, wanted, generator)
        return torch.cat(
            [x.reshape(batch, math.prod(x.shape[1:])), condition.draw(batch, generator)], 1
        )

    return draw


def _data(sample: Sample | None, layer: nn.Module, event: Event) -> Draw | None:
    if sample is None:
        return layer.sample if isinstance(layer, Adapted) else None

    def draw(batch: int, wanted: Event, generator: torch.Generator) -> Tensor:
        x = sample(batch, generator)
        if not isinstance(x, Tensor) or tuple(x.shape) != (batch, *event):
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"expected sample to return {(batch, *event)}, got {got}")
        if wanted != event:
            raise ValueError(f"expected the event {event} that sample draws, got {wanted}")
        return x.double()

    return draw


def _definition(reference: Reference) -> Callable[[nn.Module, Event], Definition]:
    """Return the user's reference as a definition at the present parameters of a layer."""
    try:
        needed = [
            p
            for p in inspect.signature(reference).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        needed = []
    if len(needed) not in (1, 2):
        raise ValueError(
            f"expected reference(layer, x) or reference(x), got {len(needed)} arguments"
        )

    def define(layer: nn.Module, event: Event) -> Definition:
        wide = copy_layer(layer).double()
        if len(needed) == 2:
            return ReferenceDefinition(functools.partial(reference, wide), event)
        return ReferenceDefinition(reference, event)

    return define
