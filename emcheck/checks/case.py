"""What is checked (a subject) and in which situation (a case)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.adapters.conventions import Context
from emcheck.contract import Event, InvertibleLayer
from emcheck.oracle import Definition
from emcheck.specs import LayerSpec, options_of, spec_for, spec_of
from emcheck.specs.parameter_styles import STYLES

#: Magnitude of the input as a power of two, by name and dtype: ordinary, wider than the data that
#: authors try, almost too large for one layer to amplify, and below the smallest normal number.
SCALES = {
    "unit": {torch.float32: 0, torch.float64: 0},
    "wide4": {torch.float32: 2, torch.float64: 2},
    "wide16": {torch.float32: 4, torch.float64: 4},
    "wide64": {torch.float32: 6, torch.float64: 6},
    "huge": {torch.float32: 96, torch.float64: 960},
    "tiny": {torch.float32: -128, torch.float64: -1024},
}


@dataclass(frozen=True)
class Case:
    """One situation: shapes, dtype and styles by name; ``seed`` fixes everything random.

    ``event`` is the shape of one sample, ``(C, H, W)`` for images; ``style`` one of
    :data:`emcheck.specs.parameter_styles.STYLES`; ``scale`` one of :data:`SCALES`; ``options`` the
    constructor's keywords. ``str(case)`` and ``Case.parse`` are inverse to each other.
    """

    event: Event
    batch: int = 2
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    style: str = "trained"
    scale: str = "unit"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def generator(self, purpose: int) -> torch.Generator:
        """Return an independent stream of random numbers for each purpose."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + purpose) % 2**63)

    @property
    def wide(self) -> bool:
        """Whether the data are several times as wide as standard normal numbers."""
        return self.scale.startswith("wide")

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def magnitude(self) -> float:
        return float(2.0 ** SCALES[self.scale][self.dtype])

    @classmethod
    def parse(cls, text: str) -> Case:
        """Return the case that prints as ``text``.

        Raises:
            ValueError: a text that no case prints.
        """
        found = _PRINTED.fullmatch(text.strip())
        if found is None:
            wanted = "(B, *event) dtype [device] style [scale] [option=value ...] seed=N"
            raise ValueError(f"expected a case like {wanted!r}, got {text!r}")
        batch, *event = ast.literal_eval(found["shape"])
        words = (word.split("=", 1) for word in found["options"].split())
        return cls(
            event=tuple(event),
            batch=batch,
            dtype=getattr(torch, found["dtype"]),
            device=found["device"] or "cpu",
            style=found["style"],
            scale=found["scale"] or "unit",
            seed=int(found["seed"]),
            options={key: _literal(value) for key, value in words},
        )

    def __str__(self) -> str:
        options = "".join(f" {key}={value}" for key, value in self.options.items())
        scale = "" if self.scale == "unit" else f" {self.scale}"
        device = "" if self.device == "cpu" else f" {self.device}"
        where = f"{(self.batch, *self.event)} {self.dtype_name}{device}"
        return f"{where} {self.style}{scale}{options} seed={self.seed}"


_PRINTED = re.compile(
    r"(?P<shape>\(\d+(?:, \d+)+\)) (?P<dtype>float32|float64)(?: (?P<device>cuda|mps))?"
    rf" (?P<style>{'|'.join(STYLES)})(?: (?P<scale>{'|'.join(SCALES)}))?"
    r"(?P<options>(?: \w+=\S+)*?) seed=(?P<seed>-?\d+)"
)


def _literal(text: str) -> Any:
    """Return a number or truth value as such, anything else as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


#: ``draw(batch, event, generator)``: float64 data ``(batch, *event)`` in a layer's domain.
Draw = Callable[[int, Event, torch.Generator], Tensor]


#: A number, or a function that sets the tolerance of a layer.
Tolerance = float | Callable[[nn.Module, float], object]


@dataclass(frozen=True)
class Subject:
    """A layer under test: how to get a fresh one, and what is known about it.

    Args:
        name: the name that results are filed under.
        build: returns a fresh layer for a case, in float32 and at initial values.
        spec: its spec, or None if it has none.
        own: whether house rules are binding (this project's layers) or only noted.
        unwrap: returns the module that the spec describes, given the layer under test.
        any_channels: whether ``build`` follows the channel count of the case.
        any_size: whether layers work at any H and W that ``multiple`` divides.
        definition: returns a layer's definition at its present parameters; None: the spec's.
        draw: draws data in the layer's domain; None for standard normal numbers.
        lacks: capability -> why; checks that need it are UNSUPPORTED.
        broken: capability -> why; checks that need it are NOT RUN, as another one has failed.
        free: whether ``draw`` can return any numbers.
        context: the entries at the end of each sample; None if the layer takes none.
        carried: the argument to which the layer adds its log-det, empty if it has none.
        estimated: whether the log-det is a random estimate, right on average.
        tolerance: what an inverse of finite accuracy declares: a number, or a function
            ``(layer, tolerance)`` that sets it.
        log_prob: whether the layer is a whole flow that has ``log_prob`` itself.
        coupled: why rows of a batch depend on each other, empty if they do not.
        parameter_count: how many numbers the layer holds.
        memo: what several checks of one case share; None keeps nothing.
        unstarted: returns a layer as its constructor left it, if ``build`` starts it.
        doubles: whether the layer answers in float64.
        original: the layer as given or first built; copies may have lost shared memory.
        keeps_entries: whether the image is known to have as many entries as the data.
        sizes: other events that the layer is known to be built for.
        divisor: what H and W are known to be multiples of, for a layer without a spec.
    """

    name: str
    build: Callable[[Case], nn.Module]
    spec: LayerSpec | None = None
    own: bool = False
    unwrap: Callable[[nn.Module], nn.Module] = lambda layer: layer
    any_channels: bool = True
    any_size: bool = True
    definition: Callable[[nn.Module, Event], Definition] | None = None
    draw: Draw | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    free: bool = False
    context: Context | None = None
    carried: str = ""
    estimated: bool = False
    tolerance: Tolerance | None = None
    log_prob: bool = False
    coupled: str = ""
    memo: dict[Any, Any] | None = None
    parameter_count: int = 0
    unstarted: Callable[[Case], nn.Module] | None = None
    doubles: bool = True
    keeps_entries: bool = False
    original: nn.Module | None = None
    sizes: tuple[Event, ...] = ()
    divisor: int = 1

    def define(self, layer: nn.Module, event: Event) -> Definition | None:
        """Return the definition of ``layer`` at its present parameters, if there is one."""
        defined = self.definition or (self.spec.define if self.spec else None)
        return defined(self.unwrap(layer), event) if defined else None

    @property
    def tail(self) -> int:
        """How many entries at the end of a sample are its context."""
        return self.context.size if self.context else 0

    @property
    def anywhere(self) -> bool:
        """Whether the data may be any numbers, as far as is known."""
        return self.draw is None or self.free

    @property
    def is_defined(self) -> bool:
        return self.definition is not None or self.spec is not None

    @classmethod
    def of_class(cls, name: str, layer_class: type[InvertibleLayer]) -> Subject:
        """Return a registered layer as a subject, built for each case."""
        spec = spec_for(layer_class)

        def build(case: Case) -> nn.Module:
            return spec.new(case.event, case.options, case.generator(0))

        return cls(name, build, spec, own=True)

    @classmethod
    def of_layer(cls, layer: nn.Module, name: str | None = None) -> Subject:
        """Return one layer as a subject: a copy for each case, built anew for other options."""
        spec = spec_of(layer)
        options = options_of(layer)

        def build(case: Case) -> nn.Module:
            if spec is not None and dict(case.options or options) != options:
                return spec.new(case.event, case.options, case.generator(0))
            return copy_layer(layer)

        return cls(
            name or type(layer).__name__,
            build,
            spec,
            own=type(layer).__module__.startswith("emcheck."),
            any_channels=False,
            any_size=spec is not None and spec.any_size,
        )

    def fewest_channels(self, case: Case) -> int:
        """Return the smallest channel count that the subject can be built with."""
        if not self.any_channels:
            return case.event[0]
        return self.spec.min_channels if self.spec else 1

    def clip(self, case: Case, channels: int, pixels: int) -> Case:
        """Return the case with at most so many channels, rows and columns, if possible."""
        C, *space = case.event
        multiple = self.multiple(case)
        most = max(multiple, pixels - pixels % multiple)
        if self.any_size:
            space = [min(size, most) for size in space]
        return replace(case, event=(min(C, max(channels, self.fewest_channels(case))), *space))

    def multiple(self, case: Case) -> int:
        """Return the number that must divide H and W in this case."""
        return self.spec.multiple(case.options) if self.spec else self.divisor
